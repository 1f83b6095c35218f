package libcometd;

import com.sun.jna.Callback;
import com.sun.jna.Native;
import com.sun.jna.Platform;
import com.sun.jna.Pointer;
import java.nio.charset.StandardCharsets;

/**
 * The functions of cometd.h, mapped directly: numbers, addresses as {@code long}, and arrays. Nothing
 * is looked up or boxed when they are called.
 */
final class Cometd {
    /** {@code sizeof(cometd_event_view)}. */
    static final int VIEW_SIZE = 160;

    static {
        if (Native.POINTER_SIZE != Long.BYTES) {
            throw new UnsatisfiedLinkError("libcometd's binding wants a 64-bit Java");
        }
        // The name that programs are linked with: another one has another interface.
        Native.register(Cometd.class, Platform.isLinux() ? "libcometd.so.0" : "cometd");
    }

    interface TokenFunction extends Callback {
        int invoke(long user, int reason, long token);
    }

    /** Of a handshake, a request, a message of an extension. */
    interface SubjectFunction extends Callback {
        int invoke(long user, long subject);
    }

    interface LoadFunction extends Callback {
        int invoke(long user, long channel, long position);
    }

    interface LogFunction extends Callback {
        void invoke(long user, int level, long target, long text);
    }

    interface FreeFunction extends Callback {
        void invoke(long user);
    }

    static native long cometd_status_text(int status);

    static native int cometd_error_status(long error);

    static native long cometd_error_message(long error);

    static native int cometd_error_phase(long error);

    static native byte cometd_error_is_fatal(long error);

    static native int cometd_error_http_status(long error);

    static native long cometd_error_bayeux(long error, int[] code);

    static native long cometd_error_channel(long error);

    static native int cometd_error_retry_in_ms(long error);

    static native void cometd_error_free(long error);

    static native long cometd_option_count();

    static native long cometd_option_at(long index);

    static native long cometd_option_name(long option);

    static native long cometd_option_type(long option);

    static native long cometd_option_unit(long option);

    static native long cometd_option_default(long option);

    static native long cometd_option_range(long option);

    static native long cometd_option_text(long option);

    static native byte cometd_option_is_secret(long option);

    static native int cometd_client_builder_new(byte[] url, long[] out, long[] error);

    static native int cometd_client_builder_set(long builder, byte[] name, byte[] value, long[] error);

    static native int cometd_client_builder_set_token_provider(
            long builder, TokenFunction fn, long user, FreeFunction free);

    static native int cometd_client_builder_build(long builder, long[] out, long[] error);

    static native void cometd_client_builder_free(long builder);

    static native long cometd_token_retain(long token);

    static native int cometd_token_set_authorization(long token, byte[] value);

    static native int cometd_token_fail(long token, byte[] why);

    static native void cometd_token_free(long token);

    static native int cometd_client_builder_set_handshake_provider(
            long builder, SubjectFunction fn, long user, FreeFunction free);

    static native int cometd_client_builder_set_header_provider(
            long builder, SubjectFunction fn, long user, FreeFunction free);

    static native int cometd_client_builder_add_extension(
            long builder, SubjectFunction outgoing, SubjectFunction incoming, long user, FreeFunction free);

    static native int cometd_client_builder_set_replay_store(
            long builder, LoadFunction load, long save, long user, FreeFunction free);

    static native int cometd_handshake_attempt(long handshake);

    static native long cometd_handshake_refusal(long handshake, long[] length);

    static native long cometd_handshake_retain(long handshake);

    static native int cometd_handshake_set_fields(long handshake, byte[] json, long length);

    static native int cometd_handshake_fail(long handshake, byte[] why);

    static native void cometd_handshake_free(long handshake);

    static native int cometd_request_phase(long request);

    static native long cometd_request_method(long request);

    static native long cometd_request_url(long request, long[] length);

    static native long cometd_request_body(long request, long[] length);

    static native long cometd_request_retain(long request);

    static native int cometd_request_set_header(long request, byte[] name, byte[] value);

    static native int cometd_request_fail(long request, byte[] why);

    static native void cometd_request_free(long request);

    static native long cometd_extension_message_json(long message, long[] length);

    static native int cometd_extension_message_replace(long message, byte[] json, long length);

    static native int cometd_extension_message_drop(long message);

    static native int cometd_log_set(int level, LogFunction fn, long user, FreeFunction free);

    static native long cometd_version_string();

    static native byte cometd_channel_matches(byte[] pattern, byte[] channel);

    static native byte cometd_message_replay_id(long message, long[] id);

    static native byte cometd_message_is_binary(long message);

    static native long cometd_message_binary(long message, long[] length);

    static native byte cometd_message_binary_is_last(long message);

    static native long cometd_message_binary_meta(long message, long[] length);

    static native int cometd_client_last_error(long client, long[] out);

    static native int cometd_client_session_id(long client, byte[] buffer, long capacity, long[] needed);

    static native int cometd_client_statistics(long client, byte[] buffer, long capacity, long[] needed);

    static native int cometd_client_server_time(long client, long[] milliseconds);

    static native int cometd_client_export(long client, int timeout, long[] text, long[] error);

    static native int cometd_client_set_replay_position(
            long client, byte[] channel, long position, long[] error);

    static native int cometd_client_batch_begin(long client, long[] error);

    static native int cometd_client_batch_end(long client, long[] error);

    static native int cometd_client_flush(long client, int timeout, long[] error);

    static native int cometd_client_publish_with_retries_opaque(
            long client, byte[] channel, byte[] json, long length, int timeout, int attempts, long opaque,
            long[] id, long[] error);

    static native int cometd_client_publish_binary_opaque(
            long client, byte[] channel, byte[] bytes, long length, byte last, byte[] meta, long metaLength,
            long opaque, long[] id, long[] error);

    static native int cometd_client_connect(long client, long[] error);

    static native long cometd_client_name(long client);

    static native int cometd_client_state(long client);

    static native int cometd_client_set_authorization(long client, byte[] value);

    static native int cometd_client_subscribe_one(
            long client, byte[] channel, long opaque, long[] id, long[] error);

    static native int cometd_client_unsubscribe_one(
            long client, byte[] channel, long opaque, long[] id, long[] error);

    static native int cometd_client_publish_opaque(
            long client, byte[] channel, byte[] json, long length, long opaque, long[] id, long[] error);

    static native int cometd_client_remote_call_opaque(
            long client, byte[] channel, byte[] json, long length, int timeout, long opaque, long[] id,
            long[] error);

    static native int cometd_client_disconnect(long client, int timeout, long[] error);

    static native void cometd_client_free(long client);

    static native long cometd_client_poll_many(long client, int timeout, long events, long capacity);

    static native int cometd_event_look(long event, long view, long size);

    static native void cometd_events_free(long events, long count);

    /** UTF-8 with its NUL, as functions take it. */
    static byte[] text(String text) {
        if (text.indexOf('\0') >= 0) {
            throw new IllegalArgumentException("a text has a NUL in it");
        }
        byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
        return java.util.Arrays.copyOf(bytes, bytes.length + 1);
    }

    /** A copy of a text that is borrowed; null for NULL. */
    static String string(long address) {
        return address == 0 ? null : new Pointer(address).getString(0, "UTF-8");
    }

    /** The same of a text that may have a NUL in it. */
    static String string(long address, long length) {
        return address == 0
                ? null
                : new String(new Pointer(address).getByteArray(0, Math.toIntExact(length)), StandardCharsets.UTF_8);
    }

    /** Throws what a function has returned, unless that is COMETD_OK. */
    static void check(int status, long[] error) {
        if (status < 0) {
            throw failure(status, error);
        }
    }

    static CometdException failure(int status, long[] error) {
        if (error[0] == 0) {
            return new CometdException(Status.of(status), string(cometd_status_text(status)));
        }
        try {
            return CometdException.of(error[0], null);
        } finally {
            cometd_error_free(error[0]);
        }
    }

    private Cometd() {}
}
