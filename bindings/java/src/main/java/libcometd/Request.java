package libcometd;

/**
 * An HTTP request that is about to be sent.
 *
 * @param phase what it is for; {@link Phase#PUBLISH} for all calls, {@link Phase#UNKNOWN} where a WebSocket is opened
 * @param method POST, or GET for a WebSocket
 * @param url where it goes to
 * @param body as it is sent
 */
public record Request(Phase phase, String method, String url, String body) {}
