package libcometd;

import java.lang.ref.Cleaner;
import java.lang.ref.Reference;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.Executor;
import java.util.concurrent.Flow;
import java.util.concurrent.ForkJoinPool;
import java.util.function.Function;
import java.util.function.Supplier;

/**
 * A session with a CometD server. Every method may be called on any thread.
 *
 * <p>Events are read by {@link #events}, {@link #poll} or {@link #publisher}, one of them. When nobody
 * reads them, the server is asked for no more.
 *
 * <p>Futures are completed on the client's thread: what is chained to them without "Async" must not
 * wait.
 */
public final class Client implements AutoCloseable {
    private static final Cleaner CLEANER = Cleaner.create();
    private static final int CLOSE_MS = 5000;
    private static final int OK = 0;
    private static final int RETRY_FOREVER = -1;
    private static final Call FLUSH = (client, error) -> Cometd.cometd_client_flush(client, 0, error);
    /** The library counts an outcome when its event can be read already. */
    private static final Call FLUSHED = (client, error) -> Cometd.cometd_client_flush(client, 100, error);

    private final Handle handle;
    private final EventReader reader;
    private final Reading<Event> reading;
    private final Thread thread;
    private final Cleaner.Cleanable cleanable;

    private Client(long address, boolean replays, Positions positions, Failures failures) {
        handle = new Handle(address);
        reader = new EventReader(handle, replays, positions);
        reading = new Reading<>(this, reader.inbox, positions);
        failures.to(reader.inbox);
        // It takes no values of this thread's along.
        thread = new Thread(null, reader, "cometd " + Cometd.string(Cometd.cometd_client_name(address)), 0, false);
        thread.setDaemon(true);
        cleanable = CLEANER.register(this, new Abandoned(handle, reader));
        try {
            thread.start();
        } catch (Throwable problem) {
            handle.release();
            cleanable.clean();
            throw problem;
        }
    }

    /** What is done for clients that nobody closed, and at last for those that were. */
    private record Abandoned(Handle handle, EventReader reader) implements Runnable {
        @Override
        public void run() {
            reader.discard();
            // Waits for nothing; the reader comes to its end by it, and frees the client.
            Cometd.cometd_client_disconnect(handle.acquire(), 0, null);
            handle.release();
            handle.close();
        }
    }

    /** What a client will be; the URL is that of the server: {@code http://localhost:8080/cometd}. */
    public static Builder builder(String url) {
        return new Builder(url);
    }

    /** All options of {@link Builder#set}. */
    public static List<Option> options() {
        return Option.all();
    }

    /**
     * Begins the session. The future is done when it is there, which may take as many attempts as the
     * options allow; a client connects once.
     */
    public CompletableFuture<Void> connect() {
        try {
            call(Cometd::cometd_client_connect);
        } catch (CometdException problem) {
            return CompletableFuture.failedFuture(problem);
        }
        return reader.connected.copy();
    }

    /** Asks for a channel's messages: {@code /a}, {@code /a/*} or {@code /a/**}. It also holds for later sessions. */
    public CompletableFuture<Void> subscribe(String channel) {
        byte[] name = Cometd.text(channel);
        CompletableFuture<Void> outcome = outcome((client, opaque, error) ->
                Cometd.cometd_client_subscribe_one(client, name, opaque, null, error));
        Throwable notLoaded = reader.positions == null ? null : reader.positions.failure(channel);
        return notLoaded == null
                ? outcome
                : CompletableFuture.failedFuture(
                        new CometdException("a replay position was not loaded", channel, notLoaded));
    }

    /** Ends a subscription. */
    public CompletableFuture<Void> unsubscribe(String channel) {
        byte[] name = Cometd.text(channel);
        return outcome((client, opaque, error) ->
                Cometd.cometd_client_unsubscribe_one(client, name, opaque, null, error));
    }

    /** Publishes JSON. It is sent once: after a failure of the network, the server may have seen it or not. */
    public CompletableFuture<Void> publish(String channel, String json) {
        byte[] name = Cometd.text(channel);
        byte[] data = json.getBytes(StandardCharsets.UTF_8);
        return outcome((client, opaque, error) -> Cometd.cometd_client_publish_opaque(
                client, name, data, data.length, opaque, null, error));
    }

    /**
     * Publishes JSON, and sends it again until the server has answered, at most so many times, 0 for any number: the
     * server may get it twice.
     */
    public CompletableFuture<Void> publishWithRetries(String channel, String json, int attempts, Duration timeout) {
        byte[] name = Cometd.text(channel);
        byte[] data = json.getBytes(StandardCharsets.UTF_8);
        int milliseconds = milliseconds(timeout);
        int limit = attempts == 0 ? RETRY_FOREVER : attempts;
        return outcome((client, opaque, error) -> Cometd.cometd_client_publish_with_retries_opaque(
                client, name, data, data.length, milliseconds, limit, opaque, null, error));
    }

    /** Publishes bytes by CometD's binary extension, which the server needs as well. */
    public CompletableFuture<Void> publishBinary(String channel, Binary binary) {
        byte[] name = Cometd.text(channel);
        byte[] bytes = binary.bytes();
        byte[] meta = binary.meta() == null ? null : binary.meta().getBytes(StandardCharsets.UTF_8);
        return outcome((client, opaque, error) -> Cometd.cometd_client_publish_binary_opaque(
                client, name, bytes, bytes.length, (byte) (binary.last() ? 1 : 0), meta,
                meta == null ? 0 : meta.length, opaque, null, error));
    }

    /**
     * A remote call: JSON for a service's channel, {@code /service/…}, and JSON back. When the service
     * says that it failed, {@link CometdException#data} has what it says.
     */
    public CompletableFuture<String> call(String channel, String json, Duration timeout) {
        byte[] name = Cometd.text(channel);
        byte[] data = json.getBytes(StandardCharsets.UTF_8);
        int milliseconds = milliseconds(timeout);
        return outcome((client, opaque, error) -> Cometd.cometd_client_remote_call_opaque(
                client, name, data, data.length, milliseconds, opaque, null, error));
    }

    /** Until it is closed, calls of any thread wait; then they are sent in one request. Batches nest. */
    public Batch batch() {
        call(Cometd::cometd_client_batch_begin);
        return new Batch(() -> {
            try {
                call(Cometd::cometd_client_batch_end);
            } catch (CometdException problem) {
                if (problem.status() != Status.CLOSED) {
                    throw problem;
                }
            }
        });
    }

    /**
     * Done when all that was called before has its outcome. It fails with {@link Status#UNDELIVERED} when a publish
     * has failed and no flush has told so. A batch that is open is sent.
     */
    public CompletableFuture<Void> flush() {
        CompletableFuture<?>[] before = reader.calls.all();
        try {
            if (ask(FLUSH) == OK) {
                return CompletableFuture.completedFuture(null);
            }
        } catch (CometdException problem) {
            if (problem.status() != Status.FULL) {
                return CompletableFuture.failedFuture(problem);
            }
        }
        return CompletableFuture.allOf(before).handleAsync((none, failed) -> {
            try {
                ask(FLUSHED);
            } catch (CometdException problem) {
                // Others wait for events to be read.
                if (problem.status() != Status.FULL) {
                    throw problem;
                }
            }
            return null;
        });
    }

    /** The next subscribe to a channel starts after this event, or with one of {@link ReplayStore}'s. */
    public void setReplayPosition(String channel, long position) {
        byte[] name = Cometd.text(channel);
        call((client, error) -> Cometd.cometd_client_set_replay_position(client, name, position, error));
    }

    /**
     * The events, each of which waits until there is one, until the client's end. When an error was
     * the end, that is thrown. An interrupt is a {@link java.util.concurrent.CancellationException}.
     */
    public Iterable<Event> events() {
        return reading.events();
    }

    /** The next event; null when none came in time, and at the end. */
    public Event poll(Duration timeout) throws InterruptedException {
        return reading.poll(timeout);
    }

    /** The events for one subscriber, on the common pool. It keeps the client from being collected. */
    public Flow.Publisher<Event> publisher() {
        return publisher(ForkJoinPool.commonPool());
    }

    /**
     * The same on another executor. {@code Runnable::run} takes the client's own thread, and the one that
     * requests events which are there.
     */
    public Flow.Publisher<Event> publisher(Executor executor) {
        return reading.publisher(Objects.requireNonNull(executor));
    }

    /**
     * Has the messages of a channel or a pattern, {@code /a/**}, go to a receiver of their own from now on, and not to
     * the client's events. It subscribes to nothing. A message that several receivers want goes to each.
     */
    public Receiver receiver(String pattern) {
        return new Receiver(this, reader, Objects.requireNonNull(pattern));
    }

    /**
     * With a replay store: the message is done, and its position may be saved. Without this call it is when the thread
     * that took it asks for the next one, or, by a publisher, when {@code onNext} has returned.
     */
    public void done(Event.Message message) {
        reading.finish(message);
    }

    /** Where the client stands now. */
    public State state() {
        int[] state = new int[1];
        try {
            call((client, error) -> {
                state[0] = Cometd.cometd_client_state(client);
                return 0;
            });
        } catch (CometdException closed) {
            return State.CLOSED;
        }
        return State.of(state[0]);
    }

    /** Changes the Authorization header, {@code Bearer abc}, from the next request on. */
    public void setAuthorization(String value) {
        byte[] text = Cometd.text(value);
        call((client, error) -> Cometd.cometd_client_set_authorization(client, text));
    }

    /** Why the client is not connected. */
    public Optional<CometdException> lastError() {
        long[] error = new long[1];
        int status = ask((client, none) -> Cometd.cometd_client_last_error(client, error));
        return status == OK ? Optional.of(Cometd.failure(Status.SYSTEM.number(), error)) : Optional.empty();
    }

    /**
     * The id that the server gave the session, as in its log. Who knows it may be able to speak for the session.
     */
    public Optional<String> sessionId() {
        return Optional.ofNullable(written(Cometd::cometd_client_session_id));
    }

    /** What the client has done: a JSON object, which cometd_client_statistics in cometd.h describes. */
    public String statistics() {
        return written(Cometd::cometd_client_statistics);
    }

    /** What the server's clock says now; it wants the option "timesync". */
    public Optional<Instant> serverTime() {
        long[] time = new long[1];
        int status = ask((client, none) -> Cometd.cometd_client_server_time(client, time));
        return status == OK ? Optional.of(Instant.ofEpochMilli(time[0])) : Optional.empty();
    }

    /**
     * Ends the client without a word to the server, and gives its session as a text, with which the option "resume" of
     * another one goes on, in this process or the next. The text is a secret, and used once. With the option
     * "acknowledgement" nothing is lost. It waits.
     */
    public String export(Duration timeout) {
        String[] text = new String[1];
        int milliseconds = milliseconds(timeout);
        call((client, error) -> {
            long[] address = new long[1];
            int status = Cometd.cometd_client_export(client, milliseconds, address, error);
            text[0] = Cometd.string(address[0]);
            return status;
        });
        return text[0];
    }

    /** Whether a subscription to a pattern, {@code /a/*}, gets the messages of a channel. */
    public static boolean channelMatches(String pattern, String channel) {
        return Cometd.cometd_channel_matches(Cometd.text(pattern), Cometd.text(channel)) != 0;
    }

    /** That of the library: "0.1.0". */
    public static String version() {
        return Cometd.string(Cometd.cometd_version_string());
    }

    /**
     * Has the log lines of all clients of the process go to a logger, of the levels that it has now; null ends that,
     * after those that were there were written. A daemon thread writes them; when more than 1024 are behind, the rest is
     * lost, and counted in a line. The logger must not call it.
     */
    public static void setLogger(System.Logger logger) {
        LogSink.set(logger);
    }

    /**
     * Ends the session; what was called is sent before. The future is done when the client has ended. Events that came
     * can still be read.
     */
    public CompletableFuture<Void> disconnect() {
        try {
            call((client, error) -> Cometd.cometd_client_disconnect(client, 0, error));
            reader.ending();
        } catch (CometdException problem) {
            if (!reader.closed.isDone()) {
                return CompletableFuture.failedFuture(problem);
            }
        }
        return reader.closed.copy();
    }

    /**
     * Ends the session, when it has not ended, and frees what belongs to it. It waits up to five
     * seconds for the server, but for none on the client's own thread.
     */
    @Override
    public void close() {
        reader.discard();
        int timeout = Thread.currentThread() == thread ? 0 : CLOSE_MS;
        try {
            call((client, error) -> {
                Cometd.cometd_client_disconnect(client, timeout, null);
                return 0;
            });
        } catch (CometdException closedBefore) {
            return;
        }
        cleanable.clean();
    }

    private interface Call {
        int on(long client, long[] error);
    }

    private interface OpaqueCall {
        int on(long client, long opaque, long[] error);
    }

    private void call(Call function) {
        ask(function);
    }

    private static int milliseconds(Duration timeout) {
        return (int) Math.max(1, Math.min(Integer.MAX_VALUE, timeout.toMillis()));
    }

    private interface Writer {
        int write(long client, byte[] buffer, long capacity, long[] needed);
    }

    /** What a function writes into a buffer, once that is large enough; null when it has nothing. */
    private String written(Writer function) {
        long[] needed = {2048};
        for (;;) {
            byte[] buffer = new byte[Math.toIntExact(needed[0])];
            try {
                int status = ask((client, none) -> function.write(client, buffer, buffer.length, needed));
                return status == OK
                        ? new String(buffer, 0, (int) needed[0] - 1, StandardCharsets.UTF_8)
                        : null;
            } catch (CometdException problem) {
                if (problem.status() != Status.OUT_OF_RANGE) {
                    throw problem;
                }
                needed[0] += 256;
            }
        }
    }

    /** What a function has returned when that is no error. */
    private int ask(Call function) {
        long client = handle.acquire();
        try {
            long[] error = new long[1];
            int status = function.on(client, error);
            Cometd.check(status, error);
            return status;
        } finally {
            handle.release();
            Reference.reachabilityFence(this);
        }
    }

    /** A call whose outcome is an event. */
    @SuppressWarnings("unchecked") // Outcomes without a result are null.
    private <T> CompletableFuture<T> outcome(OpaqueCall function) {
        CompletableFuture<String> outcome = new CompletableFuture<>();
        long[] opaque = new long[1];
        try {
            opaque[0] = reader.calls.add(outcome);
            call((client, error) -> function.on(client, opaque[0], error));
            reader.called();
        } catch (CometdException problem) {
            reader.calls.remove(opaque[0]);
            outcome.completeExceptionally(problem);
        }
        return (CompletableFuture<T>) outcome;
    }

    /** What a client will be. It can build several. */
    public static final class Builder {
        private record Setting(String name, String value) {}

        private final String url;
        private final List<Setting> settings = new ArrayList<>();
        private final List<Extension> extensions = new ArrayList<>();
        private Supplier<? extends CompletionStage<String>> tokenProvider;
        private Function<Handshake, ? extends CompletionStage<String>> handshakeProvider;
        private Function<Request, ? extends CompletionStage<Map<String, String>>> headerProvider;
        private ReplayStore replayStore;

        private Builder(String url) {
            this.url = Objects.requireNonNull(url);
        }

        /** Sets an option of {@link Client#options}. What is wrong with it, {@link #build} says. */
        public Builder set(String name, Object value) {
            settings.add(new Setting(Objects.requireNonNull(name), value.toString()));
            return this;
        }

        /**
         * Has somebody fetch a new value of the Authorization header, {@code Bearer abc}, when the server
         * refuses the one in use. It is called on a thread of the library; no thread waits for the
         * answer. It is kept as long as a client has it.
         */
        public Builder tokenProvider(Supplier<? extends CompletionStage<String>> provider) {
            tokenProvider = Objects.requireNonNull(provider);
            return this;
        }

        /**
         * Has somebody say what each handshake is to have: a JSON object of fields, of which "ext" joins the option
         * "handshake_ext"; null, or null in time, for none. It is called as {@link #tokenProvider}.
         */
        public Builder handshakeProvider(Function<Handshake, ? extends CompletionStage<String>> provider) {
            handshakeProvider = Objects.requireNonNull(provider);
            return this;
        }

        /**
         * Has somebody say which headers each HTTP request is to have, null for none. It is called as
         * {@link #tokenProvider}, also while others of its answers are awaited.
         */
        public Builder headerProvider(Function<Request, ? extends CompletionStage<Map<String, String>>> provider) {
            headerProvider = Objects.requireNonNull(provider);
            return this;
        }

        /** Adds an extension. Incoming messages meet them in this order, outgoing ones in the reverse order. */
        public Builder extension(Extension extension) {
            extensions.add(Objects.requireNonNull(extension));
            return this;
        }

        /**
         * Has subscriptions go on where the process before has stopped (Salesforce's replay extension). The option
         * "replay" turns that on and says where a channel starts of which nothing is saved: {@code set("replay",
         * "new")}. A position is saved when its event is {@link Client#done}, and none before it on its channel is
         * still being handled. When that fails, {@link Event.Failed} tells, and the next event saves again.
         */
        public Builder replayStore(ReplayStore store) {
            replayStore = Objects.requireNonNull(store);
            return this;
        }

        /** A client, which {@link Client#connect} starts. */
        public Client build() {
            long[] error = new long[1];
            long[] builder = new long[1];
            long[] client = new long[1];
            Failures failures = new Failures();
            Positions positions = replayStore == null ? null : new Positions(replayStore, failures);
            Cometd.check(Cometd.cometd_client_builder_new(Cometd.text(url), builder, error), error);
            try {
                for (Setting setting : settings) {
                    Cometd.check(
                            Cometd.cometd_client_builder_set(
                                    builder[0], Cometd.text(setting.name), Cometd.text(setting.value), error),
                            error);
                }
                if (tokenProvider != null) {
                    Functions.tokenProvider(builder[0], tokenProvider);
                }
                if (handshakeProvider != null) {
                    Functions.handshakeProvider(builder[0], handshakeProvider);
                }
                if (headerProvider != null) {
                    Functions.headerProvider(builder[0], headerProvider);
                }
                for (Extension extension : extensions) {
                    Functions.extension(builder[0], extension, failures);
                }
                if (positions != null) {
                    Functions.replayStore(builder[0], positions);
                }
                Cometd.check(Cometd.cometd_client_builder_build(builder[0], client, error), error);
                boolean replays = settings.stream().anyMatch(setting -> setting.name.equals("replay"));
                return new Client(client[0], replays, positions, failures);
            } finally {
                Cometd.cometd_client_builder_free(builder[0]);
            }
        }
    }
}
