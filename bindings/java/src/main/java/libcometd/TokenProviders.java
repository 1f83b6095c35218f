package libcometd;

import com.sun.jna.CallbackThreadInitializer;
import com.sun.jna.Native;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Supplier;

/**
 * Token providers that the library knows, each by its number: one function for all of them, which is
 * never collected.
 */
final class TokenProviders {
    private static final int OK = 0;
    private static final ConcurrentHashMap<Long, Supplier<? extends CompletionStage<String>>> PROVIDERS =
            new ConcurrentHashMap<>();
    private static final AtomicLong LAST = new AtomicLong();
    private static final Cometd.TokenFunction ASK = TokenProviders::ask;
    private static final Cometd.FreeFunction FREE = PROVIDERS::remove;

    static {
        // Threads of the library do not keep Java from ending.
        Native.setCallbackThreadInitializer(ASK, new CallbackThreadInitializer(true, false, "cometd token"));
        Native.setCallbackThreadInitializer(FREE, new CallbackThreadInitializer(true, false, "cometd free"));
    }

    static void install(long builder, Supplier<? extends CompletionStage<String>> provider) {
        long number = LAST.incrementAndGet();
        PROVIDERS.put(number, provider);
        int status = Cometd.cometd_client_builder_set_token_provider(builder, ASK, number, FREE);
        if (status < 0) {
            PROVIDERS.remove(number);
            Cometd.check(status, new long[1]);
        }
    }

    static int count() {
        return PROVIDERS.size();
    }

    /** No exception may leave it. */
    private static int ask(long number, int reason, long token) {
        long kept = Cometd.cometd_token_retain(token);
        try {
            Supplier<? extends CompletionStage<String>> provider = PROVIDERS.get(number);
            CompletionStage<String> answer = provider == null ? null : provider.get();
            if (answer == null) {
                refuse(kept, "the token provider gave null");
            } else {
                answer.whenComplete((value, problem) -> {
                    if (problem != null) {
                        refuse(kept, problem.toString());
                    } else if (value == null) {
                        refuse(kept, "the token provider gave null");
                    } else {
                        give(kept, value);
                    }
                });
            }
        } catch (Throwable problem) {
            refuse(kept, String.valueOf(problem));
        }
        return OK;
    }

    private static void give(long token, String value) {
        try {
            if (Cometd.cometd_token_set_authorization(token, Cometd.text(value)) < 0) {
                Cometd.cometd_token_fail(token, Cometd.text("what the token provider gave is no value of a header"));
            }
        } catch (IllegalArgumentException problem) {
            Cometd.cometd_token_fail(token, Cometd.text(problem.getMessage()));
        } finally {
            Cometd.cometd_token_free(token);
        }
    }

    private static void refuse(long token, String why) {
        Cometd.cometd_token_fail(token, Cometd.text(why.replaceAll("[\\x00-\\x1f]+", " ")));
        Cometd.cometd_token_free(token);
    }

    private TokenProviders() {}
}
