package libcometd;

import static libcometd.SessionTest.LIMIT;
import static libcometd.SessionTest.await;
import static libcometd.SessionTest.connected;
import static libcometd.SessionTest.failure;
import static libcometd.SessionTest.get;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import java.io.File;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.ResourceBundle;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Flow;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import java.util.function.Supplier;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;

/** What the binding does by itself, shown with the demo server. */
class ClientTest {
    static void waitFor(String what, BooleanSupplier condition) throws Exception {
        long until = System.nanoTime() + LIMIT.toNanos();
        while (!condition.getAsBoolean()) {
            if (System.nanoTime() > until) {
                fail("waited in vain for " + what);
            }
            Thread.sleep(10);
        }
    }

    @Test
    void tokenComesLater() throws Exception {
        List<CompletableFuture<String>> asked = new ArrayList<>();
        CountDownLatch question = new CountDownLatch(1);
        try (Server server = Server.demo("--token", "new");
                Client client = Client.builder(server.url)
                        .set("bearer_token", "old")
                        .tokenProvider(() -> {
                            CompletableFuture<String> answer = new CompletableFuture<>();
                            asked.add(answer);
                            question.countDown();
                            return answer;
                        })
                        .build()) {
            CompletableFuture<Void> connected = client.connect();
            assertTrue(question.await(LIMIT.toSeconds(), TimeUnit.SECONDS));
            assertFalse(connected.isDone());
            asked.get(0).complete("Bearer new");
            get(connected);
            assertEquals(1, asked.size());
        }
    }

    private static CometdException refusedBy(Supplier<CompletionStage<String>> provider) throws Exception {
        try (Server server = Server.demo("--token", "new");
                Client client = Client.builder(server.url).tokenProvider(provider).build()) {
            CometdException fatal = failure(client.connect());
            assertTrue(fatal.isFatal());
            CometdException error = assertInstanceOf(CometdException.class, fatal.getSuppressed()[0]);
            assertEquals(Status.CREDENTIALS, error.status(), error.getMessage());
            return error;
        }
    }

    @Test
    void tokenProviderThatFailsIsToldWithItsReason() throws Exception {
        CometdException thrown = refusedBy(() -> {
            throw new IllegalStateException("no\nkey");
        });
        assertTrue(thrown.getMessage().contains("IllegalStateException: no key"), thrown.getMessage());
        CometdException later =
                refusedBy(() -> CompletableFuture.failedFuture(new IllegalStateException("no key")));
        assertTrue(later.getMessage().contains("IllegalStateException: no key"), later.getMessage());
        CometdException none = refusedBy(() -> null);
        assertTrue(none.getMessage().contains("gave null"), none.getMessage());
        CometdException bad = refusedBy(() -> CompletableFuture.completedFuture("a\nb"));
        assertTrue(bad.getMessage().contains("no value of a header"), bad.getMessage());
        CometdException nul = refusedBy(() -> CompletableFuture.completedFuture("a\0b"));
        assertTrue(nul.getMessage().contains("NUL"), nul.getMessage());
        waitFor("the end of the providers", () -> Functions.count() == 0);
    }

    @Test
    void fatalErrorIsThrownToWhoReadsEvents() throws Exception {
        try (Server server = Server.demo("--token", "secret");
                Client client = Client.builder(server.url).set("bearer_token", "wrong").build()) {
            CompletableFuture<Void> published = client.publish("/a", "1");
            CometdException error = failure(client.connect());
            assertEquals(Phase.HANDSHAKE, error.phase());
            assertTrue(error.isFatal());
            assertFalse(error.retryIn().isPresent());
            failure(published);
            CometdException thrown = assertThrows(CometdException.class, () -> {
                for (Event event : client.events()) {
                    assertFalse(event instanceof Event.Message);
                }
            });
            assertEquals(error.status(), thrown.status());
        }
    }

    @Test
    void failedRequestTellsHttpStatusAndRetry() throws Exception {
        try (Server server = Server.demo("--timeout-ms", "100");
                Client client = connected(server)) {
            server.ask("/fail?status=503&count=1&on=/meta/connect");
            CometdException error = await(client, Event.Failed.class).error();
            assertEquals(Status.HTTP_STATUS, error.status());
            assertEquals(Phase.CONNECT, error.phase());
            assertEquals(503, error.httpStatus());
            assertTrue(error.retryIn().isPresent());
            assertFalse(error.isFatal());
        }
    }

    @Test
    void wrongArgumentsAreToldAtOnce() throws Exception {
        assertEquals(
                Status.INVALID_URL,
                assertThrows(CometdException.class, () -> Client.builder("x").build()).status());
        CometdException option = assertThrows(
                CometdException.class,
                () -> Client.builder("http://127.0.0.1:9/").set("no_such", 1).build());
        assertTrue(option.getMessage().contains("no_such"), option.getMessage());
        try (Client client = Client.builder("http://127.0.0.1:9/").build()) {
            assertEquals(Status.INVALID_CHANNEL, failure(client.subscribe("a")).status());
            assertEquals(Status.INVALID_JSON, failure(client.publish("/a", "{")).status());
            assertThrows(IllegalArgumentException.class, () -> client.subscribe("/a\0b"));
            assertEquals(State.IDLE, client.state());
        }
    }

    @Test
    void optionsAreListed() {
        Map<String, Option> options = Client.options().stream()
                .collect(java.util.stream.Collectors.toMap(Option::name, option -> option));
        assertEquals("ms", options.get("timeout_ms").unit());
        assertTrue(options.get("bearer_token").secret());
    }

    @Test
    void remoteCallHasAResult() throws Exception {
        try (Server server = Server.demo();
                Client client = connected(server)) {
            assertEquals("{\"x\":1}", get(client.call("/service/echo", "{\"x\":1}", LIMIT)));
        }
    }

    @Test
    void outcomesComeThoughNobodyReadsMessages() throws Exception {
        try (Server server = Server.demo();
                Client client = connected(server)) {
            get(client.subscribe("/a"));
            server.ask("/publish?channel=/a&count=20000&size=10");
            for (int number = 0; number < 10; number++) {
                get(client.publish("/b", "1"));
            }
            for (int number = 0; number < 20_000; number++) {
                String data = await(client, Event.Message.class).data();
                assertTrue(data.startsWith("{\"n\":" + number + ","), data);
            }
        }
    }

    @Test
    void interruptEndsTheWait() throws Exception {
        try (Client client = Client.builder("http://127.0.0.1:9/").build()) {
            Thread.currentThread().interrupt();
            assertThrows(CancellationException.class, () -> client.events().iterator().hasNext());
            assertTrue(Thread.interrupted());
            assertNull(client.poll(Duration.ZERO));
        }
    }

    /** Asks for one event after the other. */
    private static class Collector implements Flow.Subscriber<Event> {
        final List<String> data = java.util.Collections.synchronizedList(new ArrayList<>());
        final CompletableFuture<List<String>> done = new CompletableFuture<>();
        Flow.Subscription subscription;

        @Override
        public void onSubscribe(Flow.Subscription subscription) {
            this.subscription = subscription;
            subscription.request(1);
        }

        @Override
        public void onNext(Event event) {
            if (event instanceof Event.Message message) {
                data.add(message.data());
            }
            subscription.request(1);
        }

        @Override
        public void onError(Throwable problem) {
            done.completeExceptionally(problem);
        }

        @Override
        public void onComplete() {
            done.complete(data);
        }
    }

    @Test
    void publisherGivesAllAndCompletes() throws Exception {
        try (Server server = Server.demo()) {
            for (boolean direct : List.of(false, true)) {
                Client client = connected(server);
                Collector collector = new Collector();
                Flow.Publisher<Event> publisher =
                        direct ? client.publisher(Runnable::run) : client.publisher();
                publisher.subscribe(collector);
                get(client.subscribe("/a"));
                for (int number = 0; number < 3000; number++) {
                    client.publish("/a", String.valueOf(number));
                }
                get(client.publish("/b", "0"));
                // What is under way is sent before.
                get(client.disconnect());
                List<String> data = get(collector.done);
                assertEquals(3000, data.size());
                for (int number = 0; number < 3000; number++) {
                    assertEquals(String.valueOf(number), data.get(number));
                }
                client.close();
            }
        }
    }

    @Test
    void publisherHasOneSubscriberAtATime() throws Exception {
        try (Server server = Server.demo();
                Client client = connected(server)) {
            Collector first = new Collector();
            client.publisher().subscribe(first);
            Collector second = new Collector();
            client.publisher().subscribe(second);
            Exception problem = assertThrows(Exception.class, () -> get(second.done));
            assertInstanceOf(IllegalStateException.class, problem.getCause());
            get(client.subscribe("/a"));
            first.subscription.cancel();
            Collector third = new Collector();
            client.publisher().subscribe(third);
            get(client.publish("/a", "1"));
            get(client.disconnect());
            // A delivery to the first that was under way may have taken it.
            List<String> all = new ArrayList<>(get(third.done));
            all.addAll(first.data);
            assertEquals(List.of("1"), all);
        }
    }

    @Test
    void executorThatRefusesIsToldToTheSubscriber() throws Exception {
        try (Server server = Server.demo();
                Client client = connected(server)) {
            Collector collector = new Collector();
            client.publisher(task -> {
                throw new java.util.concurrent.RejectedExecutionException("shut down");
            }).subscribe(collector);
            Exception problem = assertThrows(Exception.class, () -> get(collector.done));
            assertEquals("shut down", problem.getCause().getMessage());
            get(client.publish("/a", "1"));
        }
    }

    @Test
    void exampleRuns() throws Exception {
        try (Server server = Server.demo("--tick-ms", "10")) {
            Process process = new ProcessBuilder(
                            ProcessHandle.current().info().command().orElse("java"),
                            "-Djna.library.path=" + System.getProperty("jna.library.path"),
                            "-cp", System.getProperty("java.class.path"),
                            Server.ROOT.resolve("bindings/java/example/Ticks.java").toString(),
                            server.url, "/ticks", "3")
                    .redirectErrorStream(true)
                    .start();
            List<String> lines =
                    new String(process.getInputStream().readAllBytes()).lines().toList();
            assertEquals(0, process.waitFor(), lines.toString());
            assertEquals(3, lines.size(), lines.toString());
            assertTrue(lines.get(0).startsWith("/ticks {\"tick\":"), lines.get(0));
        }
    }

    @Test
    void subscriberThatThrowsIsToldAndTheClientGoesOn() throws Exception {
        try (Server server = Server.demo();
                Client client = connected(server)) {
            Collector collector = new Collector() {
                @Override
                public void onNext(Event event) {
                    throw new IllegalStateException("mine");
                }
            };
            client.publisher(Runnable::run).subscribe(collector);
            Exception problem = assertThrows(Exception.class, () -> get(collector.done));
            assertEquals("mine", problem.getCause().getMessage());
            get(client.publish("/a", "1"));
            get(client.subscribe("/a"));
            get(client.publish("/a", "2"));
            assertEquals("2", await(client, Event.Message.class).data());
        }
    }

    @Test
    void closeOnTheClientsOwnThreadDoesNotWaitForItself() throws Exception {
        try (Server server = Server.demo()) {
            Client client = connected(server);
            get(client.publish("/a", "1").thenRun(client::close));
            assertEquals(State.CLOSED, client.state());
            assertEquals(Status.CLOSED, failure(client.publish("/a", "1")).status());
            assertThrows(CometdException.class, () -> client.setAuthorization("Bearer a"));
            waitFor("the end of the session", () -> server.ask("/sessions").equals("0"));
            client.close();
        }
    }

    private static int count(String folder) {
        return new File("/proc/self/" + folder).list().length;
    }

    /** Clients that nobody can reach when it returns: one never connected, one idle, one whose inbox is full. */
    private static void abandon(Server server) throws Exception {
        Client.builder(server.url).build();
        connected(server);
        Client full = connected(server);
        get(full.subscribe("/a"));
        server.ask("/publish?channel=/a&count=5000&size=10");
        Client read = connected(server);
        get(read.subscribe("/a"));
        Collector cancelling = new Collector();
        read.publisher().subscribe(cancelling);
        cancelling.subscription.cancel();
    }

    @Test
    void clientsThatNobodyClosedAreCollected() throws Exception {
        try (Server server = Server.demo()) {
            // The first one starts what stays.
            connected(server).close();
            waitFor("the end of the first", () -> clientThreads() == 0);
            server.ask("/sessions");
            int threads = count("task");
            int descriptors = count("fd");
            for (int round = 0; round < 20; round++) {
                abandon(server);
            }
            waitFor("the end of the clients", () -> {
                System.gc();
                return clientThreads() == 0 && server.ask("/sessions").equals("0");
            });
            // Java's own threads come and go.
            waitFor("the threads", () -> count("task") <= threads + 8);
            waitFor("the descriptors", () -> count("fd") <= descriptors + 4);
        }
    }

    private static long clientThreads() {
        return Thread.getAllStackTraces().keySet().stream()
                .filter(thread -> thread.getName().startsWith("cometd client"))
                .count();
    }

    private static final class Quiet implements System.Logger {
        @Override
        public String getName() {
            return "quiet";
        }

        @Override
        public boolean isLoggable(Level level) {
            return true;
        }

        @Override
        public void log(Level level, ResourceBundle bundle, String text, Throwable problem) {}

        @Override
        public void log(Level level, ResourceBundle bundle, String format, Object... arguments) {}
    }

    /** A process that ends while its clients live: their threads run, one waits for a token. */
    static final class Ending {
        public static void main(String[] arguments) throws Exception {
            Client.setLogger(new Quiet());
            Client reading = Client.builder(arguments[0])
                    .set("bearer_token", "secret")
                    .headerProvider(request -> CompletableFuture.supplyAsync(Map::of))
                    .extension(new Extension() {})
                    .build();
            get(reading.connect());
            get(reading.subscribe("/ticks"));
            reading.publisher().subscribe(new Collector());
            CountDownLatch asked = new CountDownLatch(2);
            CompletableFuture<String> never = new CompletableFuture<>();
            Client waiting = Client.builder(arguments[0])
                    .tokenProvider(() -> {
                        asked.countDown();
                        return never;
                    })
                    .build();
            waiting.connect();
            // This one is inside its provider.
            Client blocked = Client.builder(arguments[0])
                    .tokenProvider(() -> {
                        asked.countDown();
                        return CompletableFuture.completedFuture(never.join());
                    })
                    .build();
            blocked.connect();
            asked.await();
            System.out.println("alive " + reading.state() + waiting.state() + blocked.state());
            if (arguments.length > 1) {
                System.exit(0);
            }
        }
    }

    @Test
    void processEndsWithClientsAlive() throws Exception {
        try (Server server = Server.demo("--tick-ms", "1", "--token", "secret")) {
            for (int round = 0; round < 2; round++) {
                List<String> command = new ArrayList<>(List.of(
                        ProcessHandle.current().info().command().orElse("java"),
                        "-Djna.library.path=" + System.getProperty("jna.library.path"),
                        "-cp", System.getProperty("java.class.path"),
                        Ending.class.getName(), server.url));
                if (round == 1) {
                    command.add("exit");
                }
                Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
                String output = new String(process.getInputStream().readAllBytes());
                assertTrue(process.waitFor(LIMIT.toSeconds(), TimeUnit.SECONDS), "it does not end");
                assertEquals("alive CONNECTEDHANDSHAKINGHANDSHAKING\n", output);
                assertEquals(0, process.exitValue());
            }
        }
    }

    @Test
    void constantsAreThoseOfTheHeader() throws Exception {
        String header = Files.readString(Server.ROOT.resolve(Path.of("include/cometd/cometd.h")));
        Matcher matcher = Pattern.compile("(?m)^#define COMETD_(E|STATE|PHASE)_(\\w+) \\(?(-?\\d+)\\)?$")
                .matcher(header);
        int found = 0;
        while (matcher.find()) {
            int number = Integer.parseInt(matcher.group(3));
            String name = switch (matcher.group(1)) {
                case "E" -> Status.of(number).name();
                case "STATE" -> State.of(number).name();
                default -> Phase.of(number).name();
            };
            assertEquals(matcher.group(2), name);
            found++;
        }
        assertEquals(Status.values().length + State.values().length + Phase.values().length - 3, found);
        assertEquals(State.UNKNOWN, State.of(1000));
        assertEquals(Phase.UNKNOWN, Phase.of(0));
    }
}
