package libcometd;

import com.sun.jna.Memory;
import com.sun.jna.Pointer;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/** A cometd_event_view: what an event holds, in one call. Texts are copied. */
final class EventView {
    private final Memory memory = new Memory(Cometd.VIEW_SIZE);
    private final long address = Pointer.nativeValue(memory);
    private final ByteBuffer fields = memory.getByteBuffer(0, Cometd.VIEW_SIZE).order(ByteOrder.nativeOrder());
    private final Texts channels = new Texts();
    private final Texts texts = new Texts();
    private byte[] lastChannel = {};
    private String lastChannelText = "";

    void look(long event) {
        Cometd.cometd_event_look(event, address, Cometd.VIEW_SIZE);
    }

    int type() {
        return fields.getInt(0);
    }

    State state() {
        return State.of(fields.getInt(4));
    }

    State previous() {
        return State.of(fields.getInt(8));
    }

    boolean isRenewed() {
        return fields.getInt(12) != 0;
    }

    long id() {
        return fields.getLong(24);
    }

    long dropped() {
        return fields.getLong(32);
    }

    long opaque() {
        return fields.getLong(40);
    }

    /** One channel after the other is most often the same. */
    String channel() {
        long from = fields.getLong(48);
        if (from == 0) {
            return null;
        }
        int length = channels.copy(from, fields.getLong(56));
        if (!Arrays.equals(channels.bytes, 0, length, lastChannel, 0, lastChannel.length)) {
            lastChannel = Arrays.copyOf(channels.bytes, length);
            lastChannelText = new String(lastChannel, StandardCharsets.UTF_8);
        }
        return lastChannelText;
    }

    String data() {
        return text(64);
    }

    String ext() {
        return text(80);
    }

    String messageId() {
        return text(96);
    }

    /** The address of a cometd_message. */
    long message() {
        return fields.getLong(144);
    }

    boolean hasExt() {
        return fields.getLong(80) != 0;
    }

    String advice() {
        return text(112);
    }

    /** Null when there is none. */
    CometdException error(String data) {
        long error = fields.getLong(152);
        return error == 0 ? null : CometdException.of(error, data);
    }

    private String text(int field) {
        long from = fields.getLong(field);
        if (from == 0) {
            return null;
        }
        int length = texts.copy(from, fields.getLong(field + 8));
        return new String(texts.bytes, 0, length, StandardCharsets.UTF_8);
    }

    /**
     * Copies texts out of the library's memory, through a buffer that spans 2 GiB around the last
     * one which lay elsewhere: a buffer for each would be a call into native code for each. Only what
     * the library has named is read.
     */
    private static final class Texts {
        private static final int SPAN = Integer.MAX_VALUE;

        private long base;
        private ByteBuffer buffer;
        byte[] bytes = new byte[1024];

        int copy(long from, long length) {
            int size = Math.toIntExact(length);
            if (size > bytes.length) {
                bytes = new byte[Math.max(size, (int) Math.min(2L * bytes.length, SPAN - 8))];
            }
            long at = from - base;
            if (buffer == null || at < 0 || at + size > SPAN) {
                base = Math.max(1, from - SPAN / 2);
                at = from - base;
                if (at + size > SPAN) {
                    base = from;
                    at = 0;
                }
                buffer = new Pointer(base).getByteBuffer(0, SPAN);
            }
            buffer.get((int) at, bytes, 0, size);
            return size;
        }
    }
}
