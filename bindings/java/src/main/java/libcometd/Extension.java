package libcometd;

/**
 * Sees each message that the client sends or the server has sent, handshakes and connects too, and may
 * change it. A function is given a JSON object, and returns it as it is, another one, or null to drop the
 * message.
 *
 * <p>They run on a thread of the client's own, one at a time and in order, and may wait. When one throws, the
 * message goes on as it was, and {@link Event.Failed} tells.
 */
public interface Extension {
    /** A message before it is sent. */
    default String outgoing(String message) throws Exception {
        return message;
    }

    /** A message that has come. */
    default String incoming(String message) throws Exception {
        return message;
    }
}
