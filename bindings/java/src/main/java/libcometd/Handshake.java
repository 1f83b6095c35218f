package libcometd;

/**
 * A handshake that is about to be sent.
 *
 * @param attempt counts from 1 on, since the last session that worked
 * @param refusal the message by which the server refused the last one, JSON; or null
 */
public record Handshake(int attempt, String refusal) {}
