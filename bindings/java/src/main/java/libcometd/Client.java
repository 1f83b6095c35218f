package libcometd;

import java.lang.ref.Cleaner;
import java.lang.ref.Reference;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.NoSuchElementException;
import java.util.Objects;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.Executor;
import java.util.concurrent.Flow;
import java.util.concurrent.ForkJoinPool;
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

    private final Handle handle;
    private final EventReader reader;
    private final Thread thread;
    private final Cleaner.Cleanable cleanable;

    private Client(long address) {
        handle = new Handle(address);
        reader = new EventReader(handle);
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
            reader.inbox.discard();
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
        return outcome((client, opaque, error) ->
                Cometd.cometd_client_subscribe_one(client, name, opaque, null, error));
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
     * A remote call: JSON for a service's channel, {@code /service/…}, and JSON back. When the service
     * says that it failed, {@link CometdException#data} has what it says.
     */
    public CompletableFuture<String> call(String channel, String json, Duration timeout) {
        byte[] name = Cometd.text(channel);
        byte[] data = json.getBytes(StandardCharsets.UTF_8);
        int milliseconds = (int) Math.max(1, Math.min(Integer.MAX_VALUE, timeout.toMillis()));
        return outcome((client, opaque, error) -> Cometd.cometd_client_remote_call_opaque(
                client, name, data, data.length, milliseconds, opaque, null, error));
    }

    /**
     * The events, each of which waits until there is one, until the client's end. When an error was
     * the end, that is thrown. An interrupt is a {@link CancellationException}.
     */
    public Iterable<Event> events() {
        return Events::new;
    }

    /** The next event; null when none came in time, and at the end. */
    public Event poll(Duration timeout) throws InterruptedException {
        try {
            return reader.inbox.take(Math.max(0, timeout.toNanos()));
        } finally {
            Reference.reachabilityFence(this);
        }
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
        return new EventPublisher(this, reader.inbox, Objects.requireNonNull(executor));
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

    /** Ends the session; what was called is sent before. The future is done when the client has ended. */
    public CompletableFuture<Void> disconnect() {
        try {
            call((client, error) -> Cometd.cometd_client_disconnect(client, 0, error));
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
        reader.inbox.discard();
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
        long client = handle.acquire();
        try {
            long[] error = new long[1];
            Cometd.check(function.on(client, error), error);
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
            reader.inbox.called();
        } catch (CometdException problem) {
            reader.calls.remove(opaque[0]);
            outcome.completeExceptionally(problem);
        }
        return (CompletableFuture<T>) outcome;
    }

    private final class Events implements Iterator<Event> {
        private Event next;

        @Override
        public boolean hasNext() {
            if (next == null) {
                try {
                    next = reader.inbox.take(-1);
                } catch (InterruptedException interrupt) {
                    Thread.currentThread().interrupt();
                    throw new CancellationException("interrupted");
                } finally {
                    Reference.reachabilityFence(Client.this);
                }
            }
            return next != null;
        }

        @Override
        public Event next() {
            if (!hasNext()) {
                throw new NoSuchElementException();
            }
            Event event = next;
            next = null;
            return event;
        }
    }

    /** What a client will be. It can build several. */
    public static final class Builder {
        private record Setting(String name, String value) {}

        private final String url;
        private final List<Setting> settings = new ArrayList<>();
        private Supplier<? extends CompletionStage<String>> tokenProvider;

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

        /** A client, which {@link Client#connect} starts. */
        public Client build() {
            long[] error = new long[1];
            long[] builder = new long[1];
            long[] client = new long[1];
            Cometd.check(Cometd.cometd_client_builder_new(Cometd.text(url), builder, error), error);
            try {
                for (Setting setting : settings) {
                    Cometd.check(
                            Cometd.cometd_client_builder_set(
                                    builder[0], Cometd.text(setting.name), Cometd.text(setting.value), error),
                            error);
                }
                if (tokenProvider != null) {
                    TokenProviders.install(builder[0], tokenProvider);
                }
                Cometd.check(Cometd.cometd_client_builder_build(builder[0], client, error), error);
                return new Client(client[0]);
            } finally {
                Cometd.cometd_client_builder_free(builder[0]);
            }
        }
    }
}
