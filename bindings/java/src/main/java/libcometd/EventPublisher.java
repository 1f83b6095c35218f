package libcometd;

import java.util.concurrent.Executor;
import java.util.concurrent.Flow;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;

/** The events of an inbox for one subscriber, on an executor. */
final class EventPublisher<T extends Event> implements Flow.Publisher<T> {
    /** Whoever has the subscription has the client. */
    private final Reading<T> reading;
    private final Inbox inbox;
    private final Executor executor;

    EventPublisher(Reading<T> reading, Inbox inbox, Executor executor) {
        this.reading = reading;
        this.inbox = inbox;
        this.executor = executor;
    }

    @Override
    public void subscribe(Flow.Subscriber<? super T> subscriber) {
        Delivery delivery = new Delivery(subscriber);
        boolean first = inbox.listen(delivery.arrival);
        subscriber.onSubscribe(delivery);
        if (first) {
            delivery.begin();
        } else {
            delivery.end(new IllegalStateException("there is a subscriber already"));
        }
    }

    private final class Delivery implements Flow.Subscription, Runnable {
        final Runnable arrival = this::schedule;
        private final Flow.Subscriber<? super T> subscriber;
        private final AtomicLong demand = new AtomicLong();
        /** From the beginning on, for nothing is delivered before onSubscribe has returned. */
        private final AtomicInteger wanted = new AtomicInteger(1);
        private volatile boolean done;
        private volatile boolean illegal;

        Delivery(Flow.Subscriber<? super T> subscriber) {
            this.subscriber = subscriber;
        }

        @Override
        public void request(long count) {
            if (count <= 0) {
                illegal = true;
            } else {
                demand.updateAndGet(before -> before + count < 0 ? Long.MAX_VALUE : before + count);
            }
            schedule();
        }

        @Override
        public void cancel() {
            done = true;
            inbox.listenNoMore(arrival);
        }

        void begin() {
            try {
                executor.execute(this);
            } catch (RuntimeException refused) {
                end(refused);
            }
        }

        /** One run at a time, and another one when something has come meanwhile. */
        void schedule() {
            if (wanted.getAndIncrement() == 0) {
                begin();
            }
        }

        @Override
        public void run() {
            int seen;
            do {
                seen = wanted.get();
                try {
                    deliver();
                } catch (Throwable problem) {
                    end(problem);
                }
            } while (wanted.addAndGet(-seen) != 0);
        }

        private void deliver() throws InterruptedException {
            while (!done) {
                if (illegal) {
                    end(new IllegalArgumentException("a request for no events"));
                } else if (inbox.isAtEnd()) {
                    inbox.take(0);
                    cancel();
                    subscriber.onComplete();
                } else {
                    Event event = demand.get() > 0 ? inbox.take(0) : null;
                    if (event == null) {
                        return;
                    }
                    if (demand.get() != Long.MAX_VALUE) {
                        demand.decrementAndGet();
                    }
                    give(event);
                }
            }
        }

        @SuppressWarnings("unchecked") // As of Reading.
        private void give(Event event) {
            boolean done = false;
            try {
                subscriber.onNext((T) event);
                done = true;
            } finally {
                if (!done) {
                    reading.skip(event);
                }
            }
            reading.finish(event);
        }

        void end(Throwable problem) {
            if (!done) {
                cancel();
                subscriber.onError(problem);
            }
        }
    }
}
