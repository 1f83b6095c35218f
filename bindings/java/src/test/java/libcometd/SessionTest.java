package libcometd;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** What holds with every server. */
class SessionTest {
    /** How long anything may take on a slow machine before it counts as not happening. */
    static final Duration LIMIT = Duration.ofSeconds(60);

    enum Kind {
        DEMO {
            @Override
            Server start(String... options) {
                return Server.demo(options);
            }
        },
        COMETD_JAVA {
            @Override
            Server start(String... options) {
                return Server.cometd(options);
            }
        };

        abstract Server start(String... options);
    }

    static <T> T get(CompletableFuture<T> future) throws Exception {
        return future.get(LIMIT.toSeconds(), TimeUnit.SECONDS);
    }

    static CometdException failure(CompletableFuture<?> future) {
        ExecutionException problem = assertThrows(ExecutionException.class, () -> get(future));
        return assertInstanceOf(CometdException.class, problem.getCause());
    }

    /** The next event of a kind; those before it are passed over. */
    static <T extends Event> T await(Client client, Class<T> kind) throws Exception {
        long until = System.nanoTime() + LIMIT.toNanos();
        while (System.nanoTime() < until) {
            Event event = client.poll(Duration.ofSeconds(1));
            if (kind.isInstance(event)) {
                return kind.cast(event);
            }
        }
        return fail("waited in vain for " + kind);
    }

    static Client connected(Server server) throws Exception {
        Client client = Client.builder(server.url).set("backoff_ms", "10,100").build();
        get(client.connect());
        return client;
    }

    @ParameterizedTest
    @EnumSource
    void tenThousandEventsComeInOrder(Kind kind) throws Exception {
        try (Server server = kind.start();
                Client client = connected(server)) {
            get(client.subscribe("/events"));
            server.ask("/publish?channel=/events&count=10000&size=50");
            int next = 0;
            for (Event event : client.events()) {
                if (event instanceof Event.Message message) {
                    assertEquals("/events", message.channel());
                    assertTrue(message.data().startsWith("{\"n\":" + next + ","), message.data());
                    if (++next == 10_000) {
                        break;
                    }
                }
            }
        }
    }

    @ParameterizedTest
    @EnumSource
    void publishedIsHeardAndHasAnOutcome(Kind kind) throws Exception {
        try (Server server = kind.start();
                Client client = connected(server)) {
            get(client.subscribe("/a/*"));
            get(client.publish("/a/b", "{\"text\":\"grüß\"}"));
            Event.Message message = await(client, Event.Message.class);
            assertEquals("/a/b", message.channel());
            assertEquals("{\"text\":\"grüß\"}", message.data());
        }
    }

    @ParameterizedTest
    @EnumSource
    void deniedSubscribeTellsWhy(Kind kind) throws Exception {
        try (Server server = kind.start();
                Client client = connected(server)) {
            CometdException error = failure(client.subscribe("/denied/x"));
            assertEquals(Status.REFUSED, error.status());
            assertEquals(Phase.SUBSCRIBE, error.phase());
            assertEquals("/denied/x", error.channel().orElseThrow());
            assertTrue(error.bayeux().orElseThrow().startsWith("403:"), error.bayeux().orElseThrow());
            assertEquals(State.CONNECTED, client.state());
        }
    }

    @ParameterizedTest
    @EnumSource
    void lostSessionAndSubscriptionComeBack(Kind kind) throws Exception {
        try (Server server = kind.start("--timeout-ms", "500");
                Client client = connected(server)) {
            get(client.subscribe("/a"));
            server.ask("/forget");
            assertEquals("/a", await(client, Event.Renewed.class).channel());
            server.ask("/publish?channel=/a&count=1");
            await(client, Event.Message.class);
        }
    }

    @ParameterizedTest
    @EnumSource
    void disconnectEndsTheSession(Kind kind) throws Exception {
        try (Server server = kind.start();
                Client client = connected(server)) {
            assertEquals("1", server.ask("/sessions"));
            get(client.disconnect());
            assertEquals("0", server.ask("/sessions"));
            assertEquals(State.CLOSED, client.state());
            for (Event event : client.events()) {
                assertInstanceOf(Event.StateChanged.class, event);
            }
            assertEquals(Status.CLOSED, failure(client.publish("/a", "1")).status());
        }
    }
}
