package libcometd;

/** The address of a client, which is freed when it was closed and no call uses it any more. */
final class Handle {
    private final long address;
    private int uses;
    private boolean closed;

    Handle(long address) {
        this.address = address;
    }

    /** Each one is paired with a {@link #release}, unless it throws. */
    synchronized long acquire() {
        if (closed) {
            throw new CometdException(Status.CLOSED, "the client was closed");
        }
        uses++;
        return address;
    }

    void release() {
        boolean last;
        synchronized (this) {
            last = --uses == 0 && closed;
        }
        if (last) {
            Cometd.cometd_client_free(address);
        }
    }

    void close() {
        boolean last;
        synchronized (this) {
            last = uses == 0 && !closed;
            closed = true;
        }
        if (last) {
            Cometd.cometd_client_free(address);
        }
    }
}
