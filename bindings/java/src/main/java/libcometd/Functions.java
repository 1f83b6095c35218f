package libcometd;

import com.sun.jna.Callback;
import com.sun.jna.CallbackThreadInitializer;
import com.sun.jna.Native;
import com.sun.jna.Pointer;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Function;
import java.util.function.Supplier;

/**
 * The program's functions that the library knows, each by its number: one callback for all of a kind, which
 * is never collected. No exception may leave one.
 */
final class Functions {
    private static final int OK = 0;
    private static final int NONE = 1;
    private static final ConcurrentHashMap<Long, Object> FUNCTIONS = new ConcurrentHashMap<>();
    private static final AtomicLong LAST = new AtomicLong();
    private static final Cometd.TokenFunction TOKEN = Functions::token;
    private static final Cometd.SubjectFunction HANDSHAKE = Functions::handshake;
    private static final Cometd.SubjectFunction HEADERS = Functions::headers;
    private static final Cometd.SubjectFunction OUTGOING = (user, message) -> extend(user, message, true);
    private static final Cometd.SubjectFunction INCOMING = (user, message) -> extend(user, message, false);
    private static final Cometd.LoadFunction LOAD = Functions::load;
    private static final Cometd.FreeFunction FREE = FUNCTIONS::remove;

    static {
        name(TOKEN, "token");
        name(HANDSHAKE, "handshake");
        name(HEADERS, "headers");
        name(OUTGOING, "extension");
        name(INCOMING, "extension");
        name(LOAD, "replay");
        name(FREE, "free");
    }

    /** Threads of the library do not keep Java from ending. */
    static void name(Callback callback, String name) {
        Native.setCallbackThreadInitializer(callback, new CallbackThreadInitializer(true, false, "cometd " + name));
    }

    private interface Installer {
        int install(long user);
    }

    private static void install(Object function, Installer installer) {
        long number = LAST.incrementAndGet();
        FUNCTIONS.put(number, function);
        int status = installer.install(number);
        if (status < 0) {
            FUNCTIONS.remove(number);
            Cometd.check(status, new long[1]);
        }
    }

    static int count() {
        return FUNCTIONS.size();
    }

    static void tokenProvider(long builder, Supplier<? extends CompletionStage<String>> provider) {
        install(provider, user -> Cometd.cometd_client_builder_set_token_provider(builder, TOKEN, user, FREE));
    }

    static void handshakeProvider(long builder, Function<Handshake, ? extends CompletionStage<String>> provider) {
        install(provider, user ->
                Cometd.cometd_client_builder_set_handshake_provider(builder, HANDSHAKE, user, FREE));
    }

    static void headerProvider(
            long builder, Function<Request, ? extends CompletionStage<Map<String, String>>> provider) {
        install(provider, user -> Cometd.cometd_client_builder_set_header_provider(builder, HEADERS, user, FREE));
    }

    static void extension(long builder, Extension extension, Failures failures) {
        install(new Extending(extension, failures), user ->
                Cometd.cometd_client_builder_add_extension(builder, OUTGOING, INCOMING, user, FREE));
    }

    static void replayStore(long builder, Positions positions) {
        install(positions, user -> Cometd.cometd_client_builder_set_replay_store(builder, LOAD, 0, user, FREE));
    }

    private record Extending(Extension extension, Failures failures) {}

    /** How a kind of provider is answered. */
    private interface Answer<T> {
        int give(T value);
    }

    private interface Refusal {
        int give(byte[] why);
    }

    private interface Question<T> {
        CompletionStage<? extends T> ask();
    }

    private static int token(long user, int reason, long token) {
        long kept = Cometd.cometd_token_retain(token);
        return provide(
                () -> {
                    @SuppressWarnings("unchecked") // As it was installed.
                    Supplier<? extends CompletionStage<String>> provider =
                            (Supplier<? extends CompletionStage<String>>) FUNCTIONS.get(user);
                    CompletionStage<String> answer = provider.get();
                    if (answer == null) {
                        throw new IllegalArgumentException("the token provider gave null");
                    }
                    return answer;
                },
                value -> {
                    if (value == null) {
                        throw new IllegalArgumentException("the token provider gave null");
                    }
                    return Cometd.cometd_token_set_authorization(kept, Cometd.text(value));
                },
                "what the token provider gave is no value of a header",
                why -> Cometd.cometd_token_fail(kept, why),
                () -> Cometd.cometd_token_free(kept));
    }

    private static int handshake(long user, long handshake) {
        long kept = Cometd.cometd_handshake_retain(handshake);
        return provide(
                () -> {
                    @SuppressWarnings("unchecked") // As it was installed.
                    Function<Handshake, ? extends CompletionStage<String>> provider =
                            (Function<Handshake, ? extends CompletionStage<String>>) FUNCTIONS.get(user);
                    long[] length = new long[1];
                    String refusal = Cometd.string(Cometd.cometd_handshake_refusal(kept, length), length[0]);
                    return provider.apply(new Handshake(Cometd.cometd_handshake_attempt(kept), refusal));
                },
                value -> {
                    byte[] json = (value == null ? "{}" : value).getBytes(StandardCharsets.UTF_8);
                    return Cometd.cometd_handshake_set_fields(kept, json, json.length);
                },
                "what the handshake provider gave is no JSON object",
                why -> Cometd.cometd_handshake_fail(kept, why),
                () -> Cometd.cometd_handshake_free(kept));
    }

    private static int headers(long user, long request) {
        long kept = Cometd.cometd_request_retain(request);
        return provide(
                () -> {
                    @SuppressWarnings("unchecked") // As it was installed.
                    Function<Request, ? extends CompletionStage<Map<String, String>>> provider =
                            (Function<Request, ? extends CompletionStage<Map<String, String>>>) FUNCTIONS.get(user);
                    long[] length = new long[1];
                    String body = Cometd.string(Cometd.cometd_request_body(kept, length), length[0]);
                    return provider.apply(new Request(
                            Phase.of(Cometd.cometd_request_phase(kept)),
                            Cometd.string(Cometd.cometd_request_method(kept)),
                            Cometd.string(Cometd.cometd_request_url(kept, null)),
                            body));
                },
                value -> {
                    int status = OK;
                    for (Map.Entry<String, String> header : (value == null ? Map.<String, String>of() : value).entrySet()) {
                        if (status >= 0) {
                            status = Cometd.cometd_request_set_header(
                                    kept, Cometd.text(header.getKey()), Cometd.text(header.getValue()));
                        }
                    }
                    return status;
                },
                "what the header provider gave is no header that can be set",
                why -> Cometd.cometd_request_fail(kept, why),
                () -> Cometd.cometd_request_free(kept));
    }

    /** Asks, and answers when the stage is done, on whichever thread that is; null is answered at once. */
    private static <T> int provide(
            Question<T> question, Answer<T> answer, String refused, Refusal refusal, Runnable free) {
        try {
            CompletionStage<? extends T> stage = question.ask();
            if (stage == null) {
                answer(null, null, answer, refused, refusal, free);
            } else {
                stage.whenComplete((value, problem) -> answer(value, problem, answer, refused, refusal, free));
            }
        } catch (Throwable problem) {
            answer(null, problem, answer, refused, refusal, free);
        }
        return OK;
    }

    private static <T> void answer(
            T value, Throwable problem, Answer<T> answer, String refused, Refusal refusal, Runnable free) {
        String why = problem == null ? null : problem.toString();
        try {
            if (why == null && answer.give(value) < 0) {
                why = refused;
            }
        } catch (RuntimeException unusable) {
            why = String.valueOf(unusable.getMessage());
        }
        if (why != null) {
            refusal.give(Cometd.text(why.replaceAll("[\\x00-\\x1f]+", " ")));
        }
        free.run();
    }

    private static int extend(long user, long message, boolean outgoing) {
        Extending extending = (Extending) FUNCTIONS.get(user);
        try {
            long[] length = new long[1];
            String before = Cometd.string(Cometd.cometd_extension_message_json(message, length), length[0]);
            Extension extension = extending.extension;
            String after = outgoing ? extension.outgoing(before) : extension.incoming(before);
            if (after == null) {
                Cometd.cometd_extension_message_drop(message);
            } else if (!after.equals(before)) {
                byte[] json = after.getBytes(StandardCharsets.UTF_8);
                Cometd.check(
                        Cometd.cometd_extension_message_replace(message, json, json.length), new long[1]);
            }
            return OK;
        } catch (Throwable problem) {
            extending.failures.tell(new CometdException("an extension has failed", null, problem));
            return Status.SYSTEM.number();
        }
    }

    private static int load(long user, long channel, long position) {
        try {
            Long loaded = ((Positions) FUNCTIONS.get(user)).load(Cometd.string(channel));
            if (loaded == null) {
                return NONE;
            }
            new Pointer(position).setLong(0, loaded);
            return OK;
        } catch (Throwable problem) {
            return Status.SYSTEM.number();
        }
    }

    private Functions() {}
}
