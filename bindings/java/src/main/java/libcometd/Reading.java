package libcometd;

import java.lang.ref.Reference;
import java.time.Duration;
import java.util.Iterator;
import java.util.NoSuchElementException;
import java.util.concurrent.CancellationException;
import java.util.concurrent.Executor;
import java.util.concurrent.Flow;

/** How an inbox is read, and when its events are done. It keeps the client from being collected. */
final class Reading<T extends Event> {
    private final Client client;
    private final Inbox inbox;
    private final Positions positions;
    /** What a thread was given last; it is done with that when it asks for more. */
    private final ThreadLocal<Event> given = new ThreadLocal<>();

    Reading(Client client, Inbox inbox, Positions positions) {
        this.client = client;
        this.inbox = inbox;
        this.positions = positions;
    }

    Iterable<T> events() {
        return Events::new;
    }

    T poll(Duration timeout) throws InterruptedException {
        return take(Math.max(0, timeout.toNanos()));
    }

    Flow.Publisher<T> publisher(Executor executor) {
        return new EventPublisher<>(this, inbox, executor);
    }

    /** Of one that was given by {@link Inbox#take} itself. */
    void finish(Event event) {
        if (positions != null) {
            positions.finish(event);
        }
    }

    void skip(Event event) {
        if (positions != null) {
            positions.skip(event);
        }
    }

    @SuppressWarnings("unchecked") // Whoever puts something into an inbox knows what it is for.
    private T take(long nanoseconds) throws InterruptedException {
        try {
            if (positions == null) {
                return (T) inbox.take(nanoseconds);
            }
            Event before = given.get();
            if (before != null) {
                given.remove();
                positions.finish(before);
            }
            Event event = inbox.take(nanoseconds);
            if (event instanceof Event.Message) {
                given.set(event);
            }
            return (T) event;
        } finally {
            Reference.reachabilityFence(client);
        }
    }

    private final class Events implements Iterator<T> {
        private T next;

        @Override
        public boolean hasNext() {
            if (next == null) {
                try {
                    next = take(-1);
                } catch (InterruptedException interrupt) {
                    Thread.currentThread().interrupt();
                    throw new CancellationException("interrupted");
                }
            }
            return next != null;
        }

        @Override
        public T next() {
            if (!hasNext()) {
                throw new NoSuchElementException();
            }
            T event = next;
            next = null;
            return event;
        }
    }
}
