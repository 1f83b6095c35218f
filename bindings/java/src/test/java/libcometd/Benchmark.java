package libcometd;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.lang.management.ManagementFactory;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Flow;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.LockSupport;
import org.cometd.client.BayeuxClient;
import org.cometd.client.http.jetty.JettyHttpClientTransport;
import org.cometd.client.transport.ClientTransport;
import org.eclipse.jetty.client.HttpClient;
import org.eclipse.jetty.util.ajax.JSON;

/**
 * CPU time an event of a client's whole process, once warm: this binding by its iterator and by its
 * publisher on the client's thread, the same with the data parsed as CometD's client does, and that
 * client. The demo server publishes at a steady pace; how many events a response had is told.
 */
final class Benchmark {
    private static final List<String> KINDS = List.of("iterator", "publisher", "parsed", "cometd");
    private static final int SIZE = 88; // With {"n":…,"pad":""} about 100 bytes.
    private static final int RESPONSES_A_SECOND = 400;

    private static final AtomicLong RECEIVED = new AtomicLong();
    private static long bytes;

    public static void main(String[] arguments) throws Exception {
        if (arguments.length > 1) {
            try {
                receive(arguments[0], arguments[1]);
            } catch (Throwable problem) {
                problem.printStackTrace();
                // Threads of Jetty's would keep it.
                System.exit(1);
            }
            return;
        }
        double seconds = arguments.length == 0 ? 6 : Double.parseDouble(arguments[0]);
        System.out.printf("%-9s", "events");
        for (String kind : KINDS) {
            System.out.printf(" | %9s", kind);
        }
        System.out.println(" | iterator/cometd | parsed/cometd    (CPU us an event; events a response)");
        for (int events : new int[] {1, 10, 100}) {
            StringBuilder shapes = new StringBuilder();
            double[] cost = new double[KINDS.size()];
            System.out.printf("%-9d", events);
            for (int kind = 0; kind < KINDS.size(); kind++) {
                cost[kind] = measure(KINDS.get(kind), events, seconds, shapes);
                System.out.printf(Locale.ROOT, " | %9.2f", cost[kind]);
            }
            System.out.printf(
                    Locale.ROOT, " | %15.2f | %13.2f    (%s)%n", cost[0] / cost[3], cost[2] / cost[3],
                    shapes.toString().trim());
        }
    }

    private static double measure(String kind, int events, double seconds, StringBuilder shapes) throws Exception {
        try (Server server = Server.demo()) {
            Process process = new ProcessBuilder(
                            ProcessHandle.current().info().command().orElse("java"),
                            "-Djna.library.path=" + System.getProperty("jna.library.path"),
                            "-cp", System.getProperty("java.class.path"),
                            Benchmark.class.getName(), kind, server.url)
                    .redirectError(ProcessBuilder.Redirect.INHERIT)
                    .start();
            BufferedReader answers = new BufferedReader(new InputStreamReader(process.getInputStream()));
            if (answers.readLine() == null) {
                throw new IllegalStateException(kind + " did not start");
            }
            publish(server, events, seconds);
            long[] before = ask(process, answers);
            long connects = connects(server);
            publish(server, events, seconds);
            long[] after = ask(process, answers);
            double received = after[1] - before[1];
            if (received == 0) {
                throw new IllegalStateException(kind + " got nothing");
            }
            shapes.append(String.format(Locale.ROOT, " %.1f", received / (connects(server) - connects)));
            process.getOutputStream().close();
            process.waitFor();
            return (after[0] - before[0]) / 1000.0 / received;
        }
    }

    private static void publish(Server server, int events, double seconds) {
        long period = TimeUnit.SECONDS.toNanos(1) / RESPONSES_A_SECOND;
        long next = System.nanoTime();
        long end = next + (long) (seconds * 1e9);
        while (next < end) {
            server.ask("/publish?channel=/flood&count=" + events + "&size=" + SIZE);
            next += period;
            LockSupport.parkNanos(next - System.nanoTime());
        }
    }

    private static long[] ask(Process process, BufferedReader answers) throws IOException {
        process.getOutputStream().write('\n');
        process.getOutputStream().flush();
        String[] words = answers.readLine().split(" ");
        return new long[] {Long.parseLong(words[0]), Long.parseLong(words[1])};
    }

    private static long connects(Server server) {
        return Long.parseLong(server.ask("/stats").replaceAll(".*\"connects\":(\\d+).*", "$1"));
    }

    /** The process that is measured: it says what it has used at each line that it reads. */
    private static void receive(String kind, String url) throws Exception {
        if (kind.equals("cometd")) {
            HttpClient http = new HttpClient();
            http.start();
            // While it is cold, responses grow beyond what it takes by default.
            Map<String, Object> options = new HashMap<>(Map.of(ClientTransport.MAX_MESSAGE_SIZE_OPTION, 64 << 20));
            BayeuxClient client = new BayeuxClient(url, new JettyHttpClientTransport(options, http));
            client.handshake(reply -> {
                if (reply.isSuccessful()) {
                    client.getChannel("/flood").subscribe(
                            (channel, message) -> count(channel.getId(), message.getDataAsMap()),
                            subscribed -> System.out.println("ready"));
                }
            });
        } else {
            Client client = Client.builder(url).build();
            if (kind.equals("publisher")) {
                client.publisher(Runnable::run).subscribe(new Counter());
            } else {
                boolean parsed = kind.equals("parsed");
                Thread thread = new Thread(() -> {
                    JSON json = new JSON();
                    for (Event event : client.events()) {
                        if (event instanceof Event.Message message) {
                            if (parsed) {
                                count(message.channel(), (Map<?, ?>) json.fromJSON(message.data()));
                            } else {
                                count(message.channel(), message.data());
                            }
                        }
                    }
                });
                thread.setDaemon(true);
                thread.start();
            }
            client.connect().get();
            client.subscribe("/flood").get();
            System.out.println("ready");
        }
        var system = (com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
        while (System.in.read() != -1) {
            System.out.println(system.getProcessCpuTime() + " " + RECEIVED.get());
        }
        System.exit(0);
    }

    private static void count(String channel, Object data) {
        bytes += channel.length() + data.hashCode();
        RECEIVED.lazySet(RECEIVED.get() + 1);
    }

    private static final class Counter implements Flow.Subscriber<Event> {
        @Override
        public void onSubscribe(Flow.Subscription subscription) {
            subscription.request(Long.MAX_VALUE);
        }

        @Override
        public void onNext(Event event) {
            if (event instanceof Event.Message message) {
                count(message.channel(), message.data());
            }
        }

        @Override
        public void onError(Throwable problem) {
            problem.printStackTrace();
        }

        @Override
        public void onComplete() {}
    }
}
