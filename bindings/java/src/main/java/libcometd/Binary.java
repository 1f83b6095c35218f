package libcometd;

/**
 * Bytes, by CometD's binary extension.
 *
 * @param bytes the bytes
 * @param last false when other parts belong behind them
 * @param meta what else there is to say of them, a JSON object; or null
 */
public record Binary(byte[] bytes, boolean last, String meta) {
    /** All of it. */
    public Binary(byte[] bytes) {
        this(bytes, true, null);
    }

    /** Of a message; null when it has none. */
    static Binary of(long message) {
        if (Cometd.cometd_message_is_binary(message) == 0) {
            return null;
        }
        long[] length = new long[1];
        long address = Cometd.cometd_message_binary(message, length);
        if (address == 0) {
            return null;
        }
        byte[] bytes = length[0] == 0
                ? new byte[0]
                : new com.sun.jna.Pointer(address).getByteArray(0, Math.toIntExact(length[0]));
        String meta = Cometd.string(Cometd.cometd_message_binary_meta(message, length), length[0]);
        return new Binary(bytes, Cometd.cometd_message_binary_is_last(message) != 0, meta);
    }
}
