package libcometd;

import java.time.Duration;
import java.util.Optional;

/** An error with all that is known of it. Its message is one line with the whole chain of causes. */
public final class CometdException extends RuntimeException {
    private static final long serialVersionUID = 1;

    private final Status status;
    private final Phase phase;
    private final boolean fatal;
    private final String channel;
    private final int httpStatus;
    private final Duration retryIn;
    private final String bayeux;
    private final String data;

    CometdException(Status status, String message) {
        super(message);
        this.status = status;
        phase = Phase.CALL;
        fatal = false;
        channel = null;
        httpStatus = 0;
        retryIn = null;
        bayeux = null;
        data = null;
    }

    /** Of a function of the program's that the library has called. */
    CometdException(String what, String channel, Throwable cause) {
        super(what + ": " + cause, cause);
        status = Status.SYSTEM;
        phase = Phase.CALL;
        fatal = false;
        this.channel = channel;
        httpStatus = 0;
        retryIn = null;
        bayeux = null;
        data = null;
    }

    private CometdException(long error, String data) {
        super(Cometd.string(Cometd.cometd_error_message(error)));
        status = Status.of(Cometd.cometd_error_status(error));
        phase = Phase.of(Cometd.cometd_error_phase(error));
        fatal = Cometd.cometd_error_is_fatal(error) != 0;
        channel = Cometd.string(Cometd.cometd_error_channel(error));
        httpStatus = Cometd.cometd_error_http_status(error);
        int milliseconds = Cometd.cometd_error_retry_in_ms(error);
        retryIn = milliseconds < 0 ? null : Duration.ofMillis(milliseconds);
        bayeux = Cometd.string(Cometd.cometd_error_bayeux(error, null));
        this.data = data;
    }

    static CometdException of(long error, String data) {
        return new CometdException(error, data);
    }

    /** What kind of error it is. */
    public Status status() {
        return status;
    }

    /** What the client was doing. */
    public Phase phase() {
        return phase;
    }

    /** Whether the client has ended because of it. */
    public boolean isFatal() {
        return fatal;
    }

    /** The channel that it is about. */
    public Optional<String> channel() {
        return Optional.ofNullable(channel);
    }

    /** The HTTP status of the response; 0 when there was none. */
    public int httpStatus() {
        return httpStatus;
    }

    /** When the client tries again; empty when it does not. */
    public Optional<Duration> retryIn() {
        return Optional.ofNullable(retryIn);
    }

    /** The error as the server wrote it: "403::Unknown client". */
    public Optional<String> bayeux() {
        return Optional.ofNullable(bayeux);
    }

    /** JSON: what a service says of its failure; see {@link Client#call}. */
    public Optional<String> data() {
        return Optional.ofNullable(data);
    }
}
