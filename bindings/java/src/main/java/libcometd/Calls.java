package libcometd;

import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicLong;

/** Calls that wait for their outcome, each under the opaque value that the library gives back. */
final class Calls {
    private final ConcurrentHashMap<Long, CompletableFuture<String>> waiting = new ConcurrentHashMap<>();
    private final AtomicLong last = new AtomicLong();
    private volatile CometdException ended;

    long add(CompletableFuture<String> outcome) {
        long opaque = last.incrementAndGet();
        waiting.put(opaque, outcome);
        // Nobody reads what comes after the end.
        CometdException end = ended;
        if (end != null) {
            waiting.remove(opaque);
            throw end;
        }
        return opaque;
    }

    /** Null when it had its outcome before. */
    CompletableFuture<String> remove(long opaque) {
        return opaque == 0 ? null : waiting.remove(opaque);
    }

    /** Those that have no outcome now. */
    CompletableFuture<?>[] all() {
        return waiting.values().toArray(CompletableFuture<?>[]::new);
    }

    boolean isEmpty() {
        return waiting.isEmpty();
    }

    void end(CometdException why) {
        ended = why;
        for (Long opaque : waiting.keySet()) {
            CompletableFuture<String> outcome = waiting.remove(opaque);
            if (outcome != null) {
                outcome.completeExceptionally(why);
            }
        }
    }
}
