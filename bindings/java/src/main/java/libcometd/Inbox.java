package libcometd;

import java.util.ArrayDeque;
import java.util.Iterator;
import java.util.List;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;

/**
 * Events that the program has yet to read. When it is full, the library is asked for no more, whose
 * own rule holds then (option "overflow"); but not while calls wait, whose outcomes come behind.
 */
final class Inbox {
    private static final int CAPACITY = 1024;
    private static final int OTHERS = 1000;

    /** Of whose channels it gets the messages; null for the client's own. */
    final String pattern;

    private final ReentrantLock lock = new ReentrantLock();
    private final Condition arrived = lock.newCondition();
    private final Condition room = lock.newCondition();
    private final ArrayDeque<Event> events = new ArrayDeque<>();
    private final Calls calls;
    private int messages;
    private boolean ended;
    private boolean discarding;
    private boolean ending;
    private CometdException failure;
    private volatile boolean full;
    private final AtomicReference<Runnable> listener = new AtomicReference<>();

    Inbox(Calls calls, String pattern) {
        this.calls = calls;
        this.pattern = pattern;
    }

    /** False when nobody will read it. */
    boolean put(List<Event> batch) {
        lock.lock();
        try {
            if (discarding) {
                return false;
            }
            for (Event event : batch) {
                add(event);
            }
            arrived.signalAll();
        } finally {
            lock.unlock();
        }
        tell();
        return true;
    }

    /** Of those that are no messages the newest are kept: a program with receivers may read no others. */
    private void add(Event event) {
        if (event instanceof Event.Message) {
            messages++;
        } else if (events.size() - messages >= OTHERS) {
            for (Iterator<Event> oldest = events.iterator(); oldest.hasNext(); ) {
                if (!(oldest.next() instanceof Event.Message)) {
                    oldest.remove();
                    break;
                }
            }
        }
        events.add(event);
    }

    void awaitRoom() {
        lock.lock();
        try {
            full = messages >= CAPACITY;
            while (full && !discarding && !ending && calls.isEmpty()) {
                room.awaitUninterruptibly();
                full = messages >= CAPACITY;
            }
            full = false;
        } finally {
            lock.unlock();
        }
    }

    /** A call was made. */
    void called() {
        if (full) {
            lock.lock();
            try {
                room.signal();
            } finally {
                lock.unlock();
            }
        }
    }

    /** The client's end is awaited, which comes behind all events. */
    void ending() {
        lock.lock();
        try {
            ending = true;
            room.signal();
        } finally {
            lock.unlock();
        }
    }

    /** Waits without limit when that is negative; null when the time is up, and at the end. */
    Event take(long nanoseconds) throws InterruptedException {
        lock.lockInterruptibly();
        try {
            while (events.isEmpty()) {
                if (isOver()) {
                    if (failure != null) {
                        throw failure;
                    }
                    return null;
                }
                if (nanoseconds < 0) {
                    arrived.await();
                } else if (nanoseconds == 0) {
                    return null;
                } else {
                    nanoseconds = Math.max(0, arrived.awaitNanos(nanoseconds));
                }
            }
            Event event = events.poll();
            if (event instanceof Event.Message) {
                messages--;
            }
            if (full) {
                room.signal();
            }
            return event;
        } finally {
            lock.unlock();
        }
    }

    boolean isAtEnd() {
        lock.lock();
        try {
            return isOver() && events.isEmpty();
        } finally {
            lock.unlock();
        }
    }

    /** That of a receiver is also when the receiver was closed. */
    private boolean isOver() {
        return ended || discarding && pattern != null;
    }

    /** What is there and what comes is dropped: nobody will read it. It gives what was there. */
    List<Event> discard() {
        lock.lock();
        try {
            discarding = true;
            List<Event> unread = List.copyOf(events);
            events.clear();
            messages = 0;
            room.signal();
            arrived.signalAll();
            return unread;
        } finally {
            lock.unlock();
            tell();
        }
    }

    /** Nothing more comes; with a failure, because of that. */
    void end(CometdException why) {
        lock.lock();
        try {
            ended = true;
            failure = discarding ? null : why;
            arrived.signalAll();
        } finally {
            lock.unlock();
        }
        tell();
    }

    /** False when somebody else does. */
    boolean listen(Runnable whenThereIsSomething) {
        return listener.compareAndSet(null, whenThereIsSomething);
    }

    void listenNoMore(Runnable whenThereIsSomething) {
        listener.compareAndSet(whenThereIsSomething, null);
    }

    private void tell() {
        Runnable current = listener.get();
        if (current != null) {
            current.run();
        }
    }
}
