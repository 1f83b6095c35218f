package libcometd;

/** Until it is closed, calls wait; then they are sent in one request. See {@link Client#batch}. */
public final class Batch implements AutoCloseable {
    private Runnable end;

    Batch(Runnable end) {
        this.end = end;
    }

    @Override
    public synchronized void close() {
        Runnable once = end;
        end = null;
        if (once != null) {
            once.run();
        }
    }
}
