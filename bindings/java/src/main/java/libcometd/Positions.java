package libcometd;

import java.util.ArrayDeque;
import java.util.HashMap;
import java.util.IdentityHashMap;
import java.util.Map;
import java.util.OptionalLong;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.locks.ReentrantLock;

/** How far the program is done with the events of a client that has a replay store. */
final class Positions {
    private static final class Position {
        final String channel;
        final long id;
        int left;
        boolean skipped;

        Position(String channel, long id, int readers) {
            this.channel = channel;
            this.id = id;
            left = readers;
        }
    }

    private final ReplayStore store;
    private final Failures failures;
    /** Taken first: a newer position is never overwritten. */
    private final ReentrantLock saving = new ReentrantLock();
    private final Map<Event.Message, Position> given = new IdentityHashMap<>();
    private final Map<String, ArrayDeque<Position>> pending = new HashMap<>();
    private final Map<String, Throwable> failed = new ConcurrentHashMap<>();

    Positions(ReplayStore store, Failures failures) {
        this.store = store;
        this.failures = failures;
    }

    /** Each message, as they come; so many readers will be done with it. */
    synchronized void handOut(Event.Message message, int readers) {
        if (message.replayId().isPresent()) {
            Position position = new Position(message.channel(), message.replayId().getAsLong(), readers);
            given.put(message, position);
            pending.computeIfAbsent(position.channel, channel -> new ArrayDeque<>()).add(position);
        }
    }

    /** Saves the newest one before which all are done. */
    void finish(Event event) {
        if (!(event instanceof Event.Message)) {
            return;
        }
        saving.lock();
        try {
            Position newest = pass(event, false);
            if (newest != null) {
                store.save(newest.channel, newest.id);
            }
        } catch (Throwable problem) {
            String channel = ((Event.Message) event).channel();
            failures.tell(new CometdException("a replay position was not saved", channel, problem));
        } finally {
            saving.unlock();
        }
    }

    /** Nobody will be done with it: it holds up no other one, and is not saved. */
    void skip(Event event) {
        pass(event, true);
    }

    private synchronized Position pass(Event event, boolean skipped) {
        Position position = given.get(event);
        if (position == null) {
            return null;
        }
        position.skipped |= skipped;
        if (--position.left > 0) {
            return null;
        }
        given.remove(event);
        ArrayDeque<Position> channel = pending.get(position.channel);
        Position newest = null;
        while (!channel.isEmpty() && channel.peek().left == 0) {
            Position passed = channel.poll();
            newest = passed.skipped ? newest : passed;
        }
        if (channel.isEmpty()) {
            pending.remove(position.channel);
        }
        return newest;
    }

    /** Null when there is none. */
    Long load(String channel) {
        try {
            OptionalLong position = store.load(channel);
            return position.isPresent() ? position.getAsLong() : null;
        } catch (Throwable problem) {
            failed.put(channel, problem);
            throw new IllegalStateException(problem);
        }
    }

    /** Why a subscribe has failed, when loading is the reason; or null. */
    Throwable failure(String channel) {
        int query = channel.indexOf('?');
        return failed.remove(query < 0 ? channel : channel.substring(0, query));
    }
}
