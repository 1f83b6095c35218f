package libcometd;

import com.sun.jna.Memory;
import com.sun.jna.Pointer;
import java.nio.LongBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalLong;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;

/**
 * Reads a client's events, on a thread of its own, until the last one: outcomes go to who called, the
 * rest into the inbox. It knows nothing of the {@link Client}, which is collected when the program
 * has forgotten it.
 */
final class EventReader implements Runnable {
    private static final int BATCH = 256;
    /** That are known; they are the server's. */
    private static final int CHANNELS = 1000;
    private static final int MESSAGE = 1;
    private static final int STATE = 2;
    private static final int SUBSCRIBED = 3;
    private static final int UNSUBSCRIBED = 4;
    private static final int PUBLISHED = 5;
    private static final int ERROR = 6;
    private static final int DROPPED = 7;
    private static final int CLOSED = 8;
    private static final int RESULT = 9;
    private static final int ADVICE = 10;
    private static final int ROOM = 11;

    final Calls calls = new Calls();
    final Inbox inbox = new Inbox(calls, null);
    /** Null without a replay store. */
    final Positions positions;

    final CompletableFuture<Void> connected = new CompletableFuture<>();
    final CompletableFuture<Void> closed = new CompletableFuture<>();

    private final boolean replays;
    private final CopyOnWriteArrayList<Inbox> receivers = new CopyOnWriteArrayList<>();
    /** Receivers by channel, of those that were seen. */
    private final ConcurrentHashMap<String, List<Inbox>> matching = new ConcurrentHashMap<>();

    private final Handle handle;
    private final long client;
    private final Memory memory = new Memory((long) BATCH * Long.BYTES);
    private final LongBuffer events =
            memory.getByteBuffer(0, memory.size()).order(ByteOrder.nativeOrder()).asLongBuffer();
    private final EventView view = new EventView();
    private final List<Event> batch = new ArrayList<>(BATCH);
    private final List<Runnable> outcomes = new ArrayList<>();
    private CometdException lastFailure;
    private CometdException fatal;
    private boolean ended;
    private volatile boolean isEnding;
    private volatile boolean isOver;

    EventReader(Handle handle, boolean replays, Positions positions) {
        this.handle = handle;
        this.replays = replays;
        this.positions = positions;
        client = handle.acquire();
    }

    @Override
    public void run() {
        try {
            while (!ended) {
                inbox.awaitRoom();
                receivers.forEach(Inbox::awaitRoom);
                read();
            }
        } catch (Throwable problem) {
            fatal = new CometdException(Status.SYSTEM, "the reader of events failed: " + problem);
            fatal.initCause(problem);
            Cometd.cometd_client_disconnect(client, 0, null);
        } finally {
            end();
        }
    }

    private void read() {
        long address = Pointer.nativeValue(memory);
        int count = (int) Cometd.cometd_client_poll_many(client, -1, address, BATCH);
        if (count == 0) {
            ended = true;
            return;
        }
        try {
            for (int index = 0; index < count; index++) {
                view.look(events.get(index));
                take();
            }
        } finally {
            Cometd.cometd_events_free(address, count);
        }
        if (!batch.isEmpty()) {
            inbox.put(batch);
            batch.clear();
        }
        // Behind the messages that were there before them.
        outcomes.forEach(Runnable::run);
        outcomes.clear();
    }

    private void take() {
        switch (view.type()) {
            case MESSAGE -> deliver(new Event.Message(
                    view.channel(), view.data(), view.ext(), view.messageId(), replayId(),
                    view.hasExt() ? Binary.of(view.message()) : null));
            case STATE -> {
                State state = view.state();
                batch.add(new Event.StateChanged(view.previous(), state));
                if (state == State.CONNECTED) {
                    lastFailure = null;
                    outcomes.add(() -> connected.complete(null));
                }
            }
            case SUBSCRIBED -> {
                if (view.isRenewed()) {
                    batch.add(new Event.Renewed(view.channel()));
                } else {
                    succeeded(null);
                }
            }
            case UNSUBSCRIBED, PUBLISHED -> succeeded(null);
            case RESULT -> {
                CometdException error = view.error(view.data());
                if (error == null) {
                    succeeded(view.data());
                } else {
                    failed(error);
                }
            }
            case ERROR -> failed(view.error(null));
            case DROPPED -> batch.add(new Event.Dropped(view.dropped()));
            case ADVICE -> batch.add(new Event.Advice(view.advice()));
            case ROOM -> batch.add(new Event.Room());
            case CLOSED -> ended = true;
            default -> {
                // Of a newer library.
            }
        }
    }

    private OptionalLong replayId() {
        long[] id = new long[1];
        return replays && Cometd.cometd_message_replay_id(view.message(), id) != 0
                ? OptionalLong.of(id[0])
                : OptionalLong.empty();
    }

    private void deliver(Event.Message message) {
        List<Inbox> wanted = receivers.isEmpty() ? List.of() : receivers(message.channel());
        if (positions != null) {
            positions.handOut(message, Math.max(1, wanted.size()));
        }
        if (wanted.isEmpty()) {
            batch.add(message);
        }
        for (Inbox receiver : wanted) {
            if (!receiver.put(List.of(message)) && positions != null) {
                positions.skip(message);
            }
        }
    }

    private List<Inbox> receivers(String channel) {
        if (matching.size() >= CHANNELS) {
            matching.clear();
        }
        return matching.computeIfAbsent(channel, unseen -> receivers.stream()
                .filter(receiver -> Client.channelMatches(receiver.pattern, channel))
                .toList());
    }

    Inbox addInbox(String pattern) {
        Inbox added = new Inbox(calls, pattern);
        receivers.add(added);
        matching.clear();
        if (isEnding) {
            added.ending();
        }
        if (isOver) {
            added.end(fatal);
        }
        return added;
    }

    void removeInbox(Inbox removed) {
        receivers.remove(removed);
        matching.clear();
        for (Event unread : removed.discard()) {
            if (positions != null) {
                positions.skip(unread);
            }
        }
    }

    /** A call was made. */
    void called() {
        inbox.called();
        receivers.forEach(Inbox::called);
    }

    /** The end is awaited. */
    void ending() {
        isEnding = true;
        inbox.ending();
        receivers.forEach(Inbox::ending);
    }

    /** Nobody will read any more. */
    void discard() {
        inbox.discard();
        receivers.forEach(Inbox::discard);
    }

    private void succeeded(String result) {
        CompletableFuture<String> outcome = calls.remove(view.opaque());
        if (outcome != null) {
            outcomes.add(() -> outcome.complete(result));
        }
    }

    private void failed(CometdException error) {
        CompletableFuture<String> outcome = view.id() == 0 ? null : calls.remove(view.opaque());
        if (outcome != null) {
            outcomes.add(() -> outcome.completeExceptionally(error));
        } else if (error.isFatal()) {
            fatal = error;
            // What a token provider has said is not in the refusal that it leads to.
            if (lastFailure != null) {
                fatal.addSuppressed(lastFailure);
            }
        } else {
            lastFailure = error;
            batch.add(new Event.Failed(error));
        }
    }

    private void end() {
        CometdException why = fatal != null ? fatal : new CometdException(Status.CLOSED, "the client has closed");
        calls.end(why);
        inbox.end(fatal);
        isOver = true;
        receivers.forEach(receiver -> receiver.end(fatal));
        connected.completeExceptionally(why);
        if (fatal == null) {
            closed.complete(null);
        } else {
            closed.completeExceptionally(fatal);
        }
        handle.release();
    }
}
