package libcometd;

/** What went wrong: the COMETD_E_… of cometd.h. */
public enum Status {
    /** A number that this version does not know. */
    UNKNOWN(0),
    /** An argument is NULL or not acceptable. */
    INVALID_ARGUMENT(-1),
    /** A text is not UTF-8. */
    INVALID_UTF8(-2),
    /** The URL is not an absolute http or https URL. */
    INVALID_URL(-3),
    /** The channel's name is not valid. */
    INVALID_CHANNEL(-4),
    /** A text is not JSON, is nested too deep, or is not the JSON asked for. */
    INVALID_JSON(-5),
    /** A value would break out of its HTTP header. */
    INVALID_HEADER(-6),
    /** A number is out of its range. */
    OUT_OF_RANGE(-7),
    /** The function cannot be called now. */
    INVALID_STATE(-8),
    /** The client has been disconnected or has ended. */
    CLOSED(-9),
    /** Too many messages wait for their outcome, or outcomes for the program to read them. */
    FULL(-10),
    /** A function that blocks was called inside a callback. */
    WOULD_DEADLOCK(-11),
    /** The object belongs to the parent process. */
    FORKED(-12),
    /**
     * The library panicked, which is a bug in it. The client ends; what was under way may then have
     * no event of its own before COMETD_EVENT_CLOSED.
     */
    PANIC(-13),
    /** The system refused a thread, a descriptor or memory. */
    SYSTEM(-14),
    /** The server did not answer in time. */
    TIMEOUT(-20),
    /** The server's name could not be resolved. */
    DNS(-21),
    /** The server could not be reached. */
    TCP(-22),
    /** The TLS handshake failed, or the certificate is not trusted. */
    TLS(-23),
    /** The connection broke before the whole response. */
    CONNECTION_LOST(-24),
    /** The response is not HTTP. */
    MALFORMED_HTTP(-25),
    /** The server answered with an HTTP status other than 200. */
    HTTP_STATUS(-26),
    /** The server wants other credentials (HTTP 401 or 407). */
    UNAUTHORIZED(-27),
    /** The server redirects to where the client does not follow. */
    REDIRECT(-28),
    /** The response is an HTML page, of a proxy or a login form. */
    HTML(-29),
    /** The response is not JSON. */
    NOT_JSON(-30),
    /** The response is larger than the limit. */
    TOO_LARGE(-31),
    /** The response is not what Bayeux asks for. */
    PROTOCOL(-32),
    /** The server refused the message; the Bayeux error tells why. */
    REFUSED(-33),
    /** Client and server have no connection type in common. */
    NEGOTIATION(-34),
    /** The server ended the session. */
    SERVER_DISCONNECTED(-35),
    /** The client closed before the server answered. */
    ABORTED(-36),
    /** The token provider, the handshake provider or the header provider gave nothing. */
    CREDENTIALS(-37),
    /** An extension of the program's deleted the message. */
    MESSAGE_DELETED(-38),
    /**
     * The proxy could not be reached, refused to pass a request on, or wants other credentials (HTTP
     * 407).
     */
    PROXY(-39),
    /** Messages that {@link Client#publish} had accepted have failed. */
    UNDELIVERED(-40);

    private final int number;

    Status(int number) {
        this.number = number;
    }

    /** The number that it has in C. */
    public int number() {
        return number;
    }

    static Status of(int number) {
        for (Status status : values()) {
            if (status.number == number) {
                return status;
            }
        }
        return UNKNOWN;
    }
}
