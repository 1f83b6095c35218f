package libcometd;

/** Where failures of the program's own functions are told: among the events of a client, once it is there. */
final class Failures {
    private volatile Inbox inbox;

    void to(Inbox inbox) {
        this.inbox = inbox;
    }

    void tell(CometdException failure) {
        Inbox current = inbox;
        if (current != null) {
            current.put(java.util.List.of(new Event.Failed(failure)));
        }
    }
}
