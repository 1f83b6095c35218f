package libcometd;

import static libcometd.SessionTest.LIMIT;
import static libcometd.SessionTest.await;
import static libcometd.SessionTest.connected;
import static libcometd.SessionTest.failure;
import static libcometd.SessionTest.get;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.OptionalLong;
import java.util.ResourceBundle;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Flow;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** What programs hand to a client, and what they get from it beside events. */
class FeatureTest {
    private static final class Store implements ReplayStore {
        final Map<String, Long> positions = new ConcurrentHashMap<>();
        volatile RuntimeException problem;

        @Override
        public OptionalLong load(String channel) {
            if (problem != null) {
                throw problem;
            }
            Long position = positions.get(channel);
            return position == null ? OptionalLong.empty() : OptionalLong.of(position);
        }

        @Override
        public void save(String channel, long position) {
            if (problem != null) {
                throw problem;
            }
            positions.put(channel, position);
        }
    }

    private static Client replaying(Server server, ReplayStore store) throws Exception {
        Client client =
                Client.builder(server.url).set("replay", "all").replayStore(store).build();
        get(client.connect());
        return client;
    }

    private static Event.Message message(Client client) throws Exception {
        return await(client, Event.Message.class);
    }

    /** What the program had in its hands when it ended comes again, and nothing before it. */
    @Test
    void replayPositionsSurvive() throws Exception {
        Store store = new Store();
        try (Server server = Server.demo()) {
            try (Client client = replaying(server, store)) {
                get(client.subscribe("/event/a"));
                server.ask("/publish?channel=/event/a&count=5");
                message(client);
                long second = message(client).replayId().orElseThrow();
                message(client);
                assertEquals(second, store.positions.get("/event/a"));
            }
            try (Client client = replaying(server, store)) {
                get(client.subscribe("/event/a"));
                for (int n = 2; n < 5; n++) {
                    String data = message(client).data();
                    assertTrue(data.contains("\"n\":" + n + ","), data);
                }
            }
        }
    }

    @Test
    void replayPositionWaitsForEarlierEvents() throws Exception {
        Store store = new Store();
        try (Server server = Server.demo();
                Client client = replaying(server, store)) {
            get(client.subscribe("/event/a"));
            server.ask("/publish?channel=/event/a&count=2");
            Event.Message[] taken = new Event.Message[1];
            Thread other = new Thread(() -> {
                try {
                    taken[0] = message(client);
                } catch (Exception problem) {
                    throw new IllegalStateException(problem);
                }
            });
            other.start();
            other.join(LIMIT.toMillis());
            Event.Message second = message(client);
            client.done(second);
            assertNull(store.positions.get("/event/a"));
            client.done(taken[0]);
            assertEquals(second.replayId().orElseThrow(), store.positions.get("/event/a"));
            client.done(taken[0]);
        }
    }

    @Test
    void publisherSavesWhenOnNextHasReturned() throws Exception {
        Store store = new Store();
        CompletableFuture<Event.Message> got = new CompletableFuture<>();
        try (Server server = Server.demo();
                Client client = replaying(server, store)) {
            get(client.subscribe("/event/a"));
            client.publisher().subscribe(new Flow.Subscriber<>() {
                @Override
                public void onSubscribe(Flow.Subscription subscription) {
                    subscription.request(Long.MAX_VALUE);
                }

                @Override
                public void onNext(Event event) {
                    if (event instanceof Event.Message message) {
                        assertTrue(store.positions.isEmpty());
                        got.complete(message);
                    }
                }

                @Override
                public void onError(Throwable problem) {
                    got.completeExceptionally(problem);
                }

                @Override
                public void onComplete() {}
            });
            server.ask("/publish?channel=/event/a");
            Long id = get(got).replayId().orElseThrow();
            ClientTest.waitFor("the position", () -> id.equals(store.positions.get("/event/a")));
        }
    }

    @Test
    void replayStoreThatFailsIsTold() throws Exception {
        Store store = new Store();
        RuntimeException full = new IllegalStateException("the disk is full");
        try (Server server = Server.demo();
                Client client = replaying(server, store)) {
            store.problem = full;
            CometdException error = failure(client.subscribe("/event/a?x=1"));
            assertSame(full, error.getCause());
            store.problem = null;
            get(client.subscribe("/event/a"));
            server.ask("/publish?channel=/event/a");
            Event.Message first = message(client);
            store.problem = full;
            client.done(first);
            error = await(client, Event.Failed.class).error();
            assertSame(full, error.getCause());
            assertEquals("/event/a", error.channel().orElseThrow());
            store.problem = null;
            server.ask("/publish?channel=/event/a");
            Event.Message second = message(client);
            client.done(second);
            assertEquals(second.replayId().orElseThrow(), store.positions.get("/event/a"));
        }
    }

    @Test
    void replayPositionIsSet() throws Exception {
        try (Server server = Server.demo();
                Client client =
                        Client.builder(server.url).set("replay", "new").build()) {
            server.ask("/publish?channel=/event/a&count=3");
            get(client.connect());
            client.setReplayPosition("/event/a", 2);
            get(client.subscribe("/event/a"));
            assertEquals(3, message(client).replayId().orElseThrow());
        }
    }

    @Test
    void handshakeProviderAnswersTheChallenge() throws Exception {
        Pattern challenge = Pattern.compile("\"challenge\":\"([^\"]+)\"");
        try (Server server = Server.demo("--challenge", "secret");
                Client client = Client.builder(server.url)
                        .set("backoff_ms", "10,100")
                        .handshakeProvider(handshake -> {
                            if (handshake.attempt() == 1) {
                                return null;
                            }
                            Matcher found = challenge.matcher(handshake.refusal());
                            assertTrue(found.find());
                            return CompletableFuture.supplyAsync(() ->
                                    "{\"ext\":{\"authentication\":{\"answer\":\"" + found.group(1) + ":secret\"}}}");
                        })
                        .build()) {
            assertEquals(java.util.Optional.empty(), client.sessionId());
            get(client.connect());
            assertFalse(client.sessionId().orElseThrow().isEmpty());
        }
    }

    @Test
    void headerProviderSeesTheRequestAndSetsHeaders() throws Exception {
        List<Request> asked = new CopyOnWriteArrayList<>();
        try (Server server = Server.demo("--token", "new");
                Client client = Client.builder(server.url)
                        .headerProvider(request -> {
                            asked.add(request);
                            return CompletableFuture.completedFuture(Map.of("Authorization", "Bearer new"));
                        })
                        .build()) {
            get(client.connect());
            assertEquals(Phase.HANDSHAKE, asked.get(0).phase());
            assertEquals("POST", asked.get(0).method());
            assertTrue(asked.get(0).url().startsWith(server.url), asked.get(0).url());
            assertTrue(asked.get(0).body().contains("/meta/handshake"), asked.get(0).body());
        }
    }

    private static void fails(Server server, String why, Client.Builder builder) throws Exception {
        try (Client client = builder.set("backoff_ms", "10,100").set("number_of_retries", 1).build()) {
            CometdException error = failure(client.connect());
            assertEquals(Status.CREDENTIALS, error.status(), error.getMessage());
            assertTrue(error.getMessage().contains(why), error.getMessage());
            assertTrue(client.lastError().orElseThrow().getMessage().contains(why));
        }
    }

    @Test
    void providersThatFailAreToldWithTheirReasons() throws Exception {
        try (Server server = Server.demo()) {
            fails(server, "IllegalStateException: no key", Client.builder(server.url).handshakeProvider(handshake -> {
                throw new IllegalStateException("no\nkey");
            }));
            fails(server, "no JSON object", Client.builder(server.url)
                    .handshakeProvider(handshake -> CompletableFuture.completedFuture("[]")));
            fails(server, "IllegalStateException: no key", Client.builder(server.url)
                    .headerProvider(request -> CompletableFuture.failedFuture(new IllegalStateException("no key"))));
            fails(server, "no header that can be set", Client.builder(server.url)
                    .headerProvider(request -> CompletableFuture.completedFuture(Map.of("Content-Length", "1"))));
        }
        ClientTest.waitFor("the end of the providers", () -> Functions.count() == 0);
    }

    private static int requests(Client client) {
        Matcher found = Pattern.compile("\"requests\":(\\d+)").matcher(client.statistics());
        assertTrue(found.find());
        return Integer.parseInt(found.group(1));
    }

    @Test
    @SuppressWarnings("try") // The client is closed before its batch.
    void batchIsOneRequest() throws Exception {
        try (Server server = Server.demo();
                Client client = connected(server)) {
            ClientTest.waitFor("the connect to be held", () -> requests(client) >= 3);
            int before = requests(client);
            List<CompletableFuture<Void>> outcomes = new ArrayList<>();
            try (Batch batch = client.batch()) {
                outcomes.add(client.subscribe("/a"));
                for (int n = 0; n < 20; n++) {
                    outcomes.add(client.publish("/a", String.valueOf(n)));
                }
                assertTrue(outcomes.stream().noneMatch(CompletableFuture::isDone));
            }
            for (CompletableFuture<Void> outcome : outcomes) {
                get(outcome);
            }
            assertTrue(requests(client) - before <= 3, "requests: " + (requests(client) - before));
            Batch open = client.batch();
            client.close();
            open.close();
        }
    }

    @Test
    void flushTellsOnceOfPublishesThatFailed() throws Exception {
        try (Server server = Server.demo();
                Client client = connected(server)) {
            get(client.flush());
            CompletableFuture<Void> good = client.publish("/a", "1");
            get(client.flush());
            assertTrue(good.isDone());
            server.ask("/fail?status=503&count=1&on=/a");
            client.publish("/a", "1");
            assertEquals(Status.UNDELIVERED, failure(client.flush()).status());
            get(client.flush());
        }
    }

    @Test
    void publishIsTriedAgain() throws Exception {
        try (Server server = Server.demo();
                Client client = connected(server)) {
            server.ask("/fail?status=503&count=2&on=/a");
            failure(client.publishWithRetries("/a", "1", 2, LIMIT));
            server.ask("/fail?status=503&count=2&on=/a");
            get(client.publishWithRetries("/a", "1", 0, LIMIT));
        }
    }

    @Test
    void authorizationOfALiveClientIsChanged() throws Exception {
        try (Server server = Server.demo("--token", "new");
                Client client = Client.builder(server.url)
                        .set("bearer_token", "old")
                        .set("await_credentials", true)
                        .build()) {
            CompletableFuture<Void> connected = client.connect();
            ClientTest.waitFor("a refusal", () -> client.lastError().isPresent());
            client.setAuthorization("Bearer new");
            get(connected);
            assertTrue(client.lastError().isEmpty());
        }
    }

    private static final class Lines implements System.Logger {
        final List<String> lines = new CopyOnWriteArrayList<>();

        @Override
        public String getName() {
            return "test";
        }

        @Override
        public boolean isLoggable(Level level) {
            return level.getSeverity() >= Level.INFO.getSeverity();
        }

        @Override
        public void log(Level level, ResourceBundle bundle, String text, Throwable problem) {
            throw new UnsupportedOperationException();
        }

        @Override
        public void log(Level level, ResourceBundle bundle, String format, Object... arguments) {
            lines.add(level + " " + format);
            if (lines.size() == 1) {
                throw new IllegalStateException("the first line is lost");
            }
        }
    }

    @Test
    void linesGoToALogger() throws Exception {
        Lines logger = new Lines();
        try (Server server = Server.demo()) {
            Client.setLogger(logger);
            connected(server).close();
            Client.setLogger(null);
            int count = logger.lines.size();
            assertTrue(count > 1);
            assertTrue(logger.lines.stream().allMatch(line -> line.startsWith("INFO cometd::")), logger.lines.toString());
            connected(server).close();
            assertEquals(count, logger.lines.size());
        }
    }

    @Test
    void extensionsChangeAndDropMessages() throws Exception {
        List<String> order = new CopyOnWriteArrayList<>();
        Extension first = new Extension() {
            @Override
            public String outgoing(String message) {
                if (message.contains("\"/gone\"")) {
                    return null;
                }
                if (message.contains("\"before\"")) {
                    order.add("first out");
                }
                return message.replace("\"before\"", "\"after\"");
            }

            @Override
            public String incoming(String message) {
                if (message.contains("\"after\"")) {
                    order.add("first in");
                }
                return message;
            }
        };
        Extension second = new Extension() {
            @Override
            public String outgoing(String message) {
                if (message.contains("\"before\"")) {
                    order.add("second out");
                }
                return message;
            }
        };
        try (Server server = Server.demo();
                Client client = Client.builder(server.url).extension(first).extension(second).build()) {
            get(client.connect());
            get(client.subscribe("/a"));
            get(client.publish("/a", "\"before\""));
            assertEquals("\"after\"", message(client).data());
            assertEquals(List.of("second out", "first out", "first in"), order);
            assertEquals(Status.MESSAGE_DELETED, failure(client.publish("/gone", "1")).status());
        }
    }

    @Test
    void extensionThatThrowsIsToldAndDoesNoHarm() throws Exception {
        Extension extension = new Extension() {
            @Override
            public String incoming(String message) throws Exception {
                if (message.contains("\"/a\"") && message.contains("data")) {
                    throw new Exception("mine");
                }
                return message.contains("\"/b\"") && message.contains("data") ? "no JSON" : message;
            }
        };
        try (Server server = Server.demo();
                Client client = Client.builder(server.url).extension(extension).build()) {
            get(client.connect());
            get(client.subscribe("/a"));
            get(client.subscribe("/b"));
            server.ask("/publish?channel=/a");
            assertEquals("mine", await(client, Event.Failed.class).error().getCause().getMessage());
            assertEquals("/a", message(client).channel());
            server.ask("/publish?channel=/b");
            assertEquals(
                    Status.INVALID_JSON,
                    ((CometdException) await(client, Event.Failed.class).error().getCause()).status());
            assertEquals("/b", message(client).channel());
        }
    }

    @Test
    void receiverHasItsChannelsToItself() throws Exception {
        try (Server server = Server.demo();
                Client client = connected(server)) {
            Receiver wide = client.receiver("/a/*");
            Receiver narrow = client.receiver("/a/b");
            get(client.subscribe("/a/*"));
            get(client.subscribe("/c"));
            server.ask("/publish?channel=/a/x");
            server.ask("/publish?channel=/a/b");
            server.ask("/publish?channel=/c");
            assertEquals("/a/x", wide.poll(LIMIT).channel());
            assertEquals("/a/b", wide.events().iterator().next().channel());
            assertEquals("/a/b", narrow.poll(LIMIT).channel());
            assertEquals("/c", message(client).channel());
            wide.close();
            narrow.close();
            server.ask("/publish?channel=/a/x");
            assertEquals("/a/x", message(client).channel());
            Receiver last = client.receiver("/a/*");
            get(client.disconnect());
            assertFalse(last.events().iterator().hasNext());
            assertFalse(client.receiver("/a/*").events().iterator().hasNext());
        }
    }

    /** What nobody reads does not keep a client from its end; it can still be read. */
    @Test
    void disconnectDoesNotWaitForWhoReadsNothing() throws Exception {
        try (Server server = Server.demo();
                Client client =
                        Client.builder(server.url).build()) {
            get(client.connect());
            get(client.subscribe("/a"));
            server.ask("/publish?channel=/a&count=3000");
            for (long end = System.nanoTime() + LIMIT.toNanos(); !client.statistics().contains("\"events_received\":3000"); ) {
                assertTrue(System.nanoTime() < end, client.statistics());
                Thread.sleep(10);
            }
            get(client.disconnect());
            assertEquals("/a", message(client).channel());
        }
    }

    @Test
    void closeEndsWhoWaitsForAReceiver() throws Exception {
        try (Server server = Server.demo();
                Client client = connected(server)) {
            Receiver receiver = client.receiver("/a");
            CompletableFuture<Boolean> reader =
                    CompletableFuture.supplyAsync(() -> receiver.events().iterator().hasNext());
            CompletableFuture<Void> subscriber = new CompletableFuture<>();
            Receiver published = client.receiver("/b");
            published.publisher(Runnable::run).subscribe(new Flow.Subscriber<>() {
                @Override
                public void onSubscribe(Flow.Subscription subscription) {
                    subscription.request(1);
                }

                @Override
                public void onNext(Event.Message message) {}

                @Override
                public void onError(Throwable problem) {
                    subscriber.completeExceptionally(problem);
                }

                @Override
                public void onComplete() {
                    subscriber.complete(null);
                }
            });
            receiver.close();
            published.close();
            assertFalse(get(reader));
            get(subscriber);
        }
    }

    /** A program that reads its receivers only does not stand still because of other events. */
    @Test
    void receiverAloneIsEnough() throws Exception {
        try (Server server = Server.demo();
                Client client = connected(server);
                Receiver receiver = client.receiver("/a")) {
            get(client.subscribe("/a"));
            server.ask("/publish?channel=/a&count=3000");
            for (int n = 0; n < 3000; n++) {
                String data = receiver.poll(LIMIT).data();
                assertTrue(data.startsWith("{\"n\":" + n + ","), data);
            }
        }
    }

    @ParameterizedTest
    @EnumSource
    void sessionIsHandedOver(SessionTest.Kind kind) throws Exception {
        try (Server server = kind.start();
                Client client = Client.builder(server.url).set("acknowledgement", true).build()) {
            get(client.connect());
            get(client.subscribe("/a"));
            String session = client.sessionId().orElseThrow();
            String text = client.export(LIMIT);
            server.ask("/publish?channel=/a");
            try (Client next = Client.builder(server.url)
                    .set("acknowledgement", true)
                    .set("resume", text)
                    .build()) {
                get(next.connect());
                assertEquals("/a", message(next).channel());
                assertEquals(session, next.sessionId().orElseThrow());
            }
        }
    }

    @ParameterizedTest
    @EnumSource
    void bytesArrive(SessionTest.Kind kind) throws Exception {
        try (Server server = kind.start();
                Client client = connected(server)) {
            get(client.subscribe("/a"));
            for (Binary sent : List.of(
                    new Binary(new byte[] {0, -1, 3}, false, "{\"name\":\"x\"}"), new Binary(new byte[0]))) {
                get(client.publishBinary("/a", sent));
                Binary got = message(client).binary();
                assertArrayEquals(sent.bytes(), got.bytes());
                assertEquals(sent.last(), got.last());
                assertEquals(sent.meta(), got.meta());
            }
            get(client.publish("/a", "1"));
            assertNull(message(client).binary());
        }
    }

    @Test
    void serverTimeChannelsAndVersion() throws Exception {
        try (Server server = Server.demo();
                Client client = Client.builder(server.url).set("timesync", true).build();
                Client without = connected(server)) {
            get(client.connect());
            Duration difference = Duration.between(client.serverTime().orElseThrow(), Instant.now());
            assertTrue(difference.abs().compareTo(LIMIT) < 0);
            assertTrue(without.serverTime().isEmpty());
            assertTrue(Client.channelMatches("/a/*", "/a/b"));
            assertFalse(Client.channelMatches("/a/*", "/a/b/c"));
            assertTrue(Client.version().matches("\\d+\\.\\d+\\.\\d+"), Client.version());
        }
    }

    private static void abandon(Server server, CountDownLatch saved) throws Exception {
        Client client = Client.builder(server.url)
                .set("replay", "new")
                .replayStore(new Store())
                .handshakeProvider(handshake -> null)
                .headerProvider(request -> null)
                .extension(new Extension() {})
                .build();
        get(client.connect());
        client.receiver("/event/a");
        saved.countDown();
    }

    /** What keeps functions of the program's does not keep the client. */
    @Test
    void clientsWithFunctionsAreCollected() throws Exception {
        try (Server server = Server.demo()) {
            CountDownLatch made = new CountDownLatch(5);
            for (int round = 0; round < 5; round++) {
                abandon(server, made);
            }
            assertTrue(made.await(LIMIT.toSeconds(), TimeUnit.SECONDS));
            ClientTest.waitFor("the end of the clients and their functions", () -> {
                System.gc();
                return Functions.count() == 0 && server.ask("/sessions").equals("0");
            });
        }
    }
}
