package libcometd;

/** Where a client stands: the COMETD_STATE_… of cometd.h. */
public enum State {
    /** Built, not yet connected. */
    IDLE,
    /** The first handshake is under way, or tried again. */
    HANDSHAKING,
    /** There is a session; its first connect is under way. */
    CONNECTING,
    /** The last connect was answered; events arrive. */
    CONNECTED,
    /** There is a session, but the last connect failed; it is tried again. */
    UNCONNECTED,
    /** The session was lost; a new handshake is under way, or tried again. */
    REHANDSHAKING,
    /** The program has asked for the end, which is under way. */
    DISCONNECTING,
    /** The end. A client is not connected a second time; another one is built. */
    CLOSED,
    /** A number that this version does not know. */
    UNKNOWN;

    static State of(int number) {
        return number >= 0 && number < UNKNOWN.ordinal() ? values()[number] : UNKNOWN;
    }
}
