package libcometd;

/** What the client was doing when an error happened: the COMETD_PHASE_… of cometd.h. */
public enum Phase {
    /** The handshake. */
    HANDSHAKE,
    /** The connect loop, which waits for events. */
    CONNECT,
    /** A subscribe. */
    SUBSCRIBE,
    /** An unsubscribe. */
    UNSUBSCRIBE,
    /** A publish. */
    PUBLISH,
    /** The disconnect. */
    DISCONNECT,
    /** The call of a function, of its arguments or its time; or a remote call. */
    CALL,
    /** A number that this version does not know. */
    UNKNOWN;

    static Phase of(int number) {
        return number >= 1 && number <= UNKNOWN.ordinal() ? values()[number - 1] : UNKNOWN;
    }
}
