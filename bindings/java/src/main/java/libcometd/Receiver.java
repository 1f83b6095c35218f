package libcometd;

import java.time.Duration;
import java.util.Objects;
import java.util.concurrent.Executor;
import java.util.concurrent.Flow;

/**
 * The messages of one channel or pattern, of {@link Client#receiver}. It is read as a client's events are; while
 * nobody does, the client is asked for no more when it is full.
 */
public final class Receiver implements AutoCloseable {
    private final EventReader reader;
    private final Inbox inbox;
    private final Reading<Event.Message> reading;

    Receiver(Client client, EventReader reader, String pattern) {
        this.reader = reader;
        inbox = reader.addInbox(pattern);
        reading = new Reading<>(client, inbox, reader.positions);
    }

    /** As {@link Client#events}. */
    public Iterable<Event.Message> events() {
        return reading.events();
    }

    /** As {@link Client#poll}. */
    public Event.Message poll(Duration timeout) throws InterruptedException {
        return reading.poll(timeout);
    }

    /** As {@link Client#publisher(Executor)}. */
    public Flow.Publisher<Event.Message> publisher(Executor executor) {
        return reading.publisher(Objects.requireNonNull(executor));
    }

    /** Ends who reads it; what it would get goes to the client's events again. What was not read is gone. */
    @Override
    public void close() {
        reader.removeInbox(inbox);
    }
}
