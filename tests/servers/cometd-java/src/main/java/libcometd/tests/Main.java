package libcometd.tests;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.BindException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import org.cometd.bayeux.Channel;
import org.cometd.bayeux.Promise;
import org.cometd.bayeux.server.BayeuxServer;
import org.cometd.bayeux.server.ServerChannel;
import org.cometd.bayeux.server.ServerMessage;
import org.cometd.bayeux.server.ServerSession;
import org.cometd.server.BayeuxServerImpl;
import org.cometd.server.DefaultSecurityPolicy;
import org.cometd.server.ServerSessionImpl;
import org.cometd.server.ext.AcknowledgedMessagesExtension;
import org.cometd.server.ext.TimesyncExtension;
import org.cometd.server.http.jakarta.CometDServlet;
import org.eclipse.jetty.ee10.servlet.ServletContextHandler;
import org.eclipse.jetty.ee10.servlet.ServletHolder;
import org.eclipse.jetty.io.EndPoint;
import org.eclipse.jetty.server.Context;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.ServerConnector;
import org.eclipse.jetty.websocket.server.WebSocketUpgradeHandler;

/**
 * A CometD server for the tests of libcometd. ../README.md describes the
 * command line and the control interface, which all three servers share.
 */
public final class Main {
    private static final String NAME = "cometd-java";
    /** Set on a session while the server holds its /meta/connect. */
    private static final String HELD = "held";

    private int port = 0;
    private long timeoutMs = 5000;
    private long intervalMs = 0;
    private long maxIntervalMs = 10000;
    private String token;
    private List<String> transports = List.of("websocket", "long-polling");
    private boolean requireHandshakePerConnection;
    /** 0 is CometD's own. */
    private long webSocketMaxMessage = 0;

    private final AtomicLong handshakes = new AtomicLong();
    private final AtomicLong connects = new AtomicLong();
    private final AtomicLong disconnects = new AtomicLong();
    private final AtomicLong publishes = new AtomicLong();
    private final ScheduledExecutorService timer = Executors.newScheduledThreadPool(1);

    /** Null while a restart has the server down. */
    private volatile Bayeux bayeux;
    private boolean restarting;

    public static void main(String[] args) throws Exception {
        new Main().run(args);
    }

    private void run(String[] args) throws Exception {
        parse(args);
        bayeux = new Bayeux();
        port = bayeux.port();

        HttpServer control = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
        control.setExecutor(Executors.newCachedThreadPool());
        control.createContext("/", this::control);
        control.start();
        timer.scheduleAtFixedRate(this::tick, 200, 200, TimeUnit.MILLISECONDS);

        System.out.println("READY " + port + " " + control.getAddress().getPort());
        System.out.flush();

        // End of input means that the test which started us is gone.
        byte[] sink = new byte[256];
        while (System.in.read(sink) >= 0) {
            // What comes in does not matter.
        }
        System.exit(0);
    }

    private void parse(String[] args) {
        for (int i = 0; i < args.length; i += 2) {
            if (args[i].equals("--require-handshake-per-connection")) {
                requireHandshakePerConnection = true;
                --i;
                continue;
            }
            String value = i + 1 < args.length ? args[i + 1] : usage("no value for " + args[i]);
            switch (args[i]) {
                case "--port" -> port = (int)number(args[i], value);
                case "--timeout-ms" -> timeoutMs = number(args[i], value);
                case "--interval-ms" -> intervalMs = number(args[i], value);
                case "--max-interval-ms" -> maxIntervalMs = number(args[i], value);
                case "--token" -> token = value;
                case "--transports" -> transports = transports(value);
                case "--ws-max-message" -> webSocketMaxMessage = number(args[i], value);
                default -> usage("unknown flag " + args[i]);
            }
        }
    }

    private static long number(String flag, String value) {
        return value.matches("[0-9]{1,9}") ? Long.parseLong(value) : Long.parseLong(usage(flag + ": not a number: " + value));
    }

    private static List<String> transports(String value) {
        List<String> names = List.of(value.split(","));
        return List.of("websocket", "long-polling").containsAll(names) ? names : List.of(usage("no such transports: " + value));
    }

    private static String usage(String problem) {
        System.err.println(NAME + ": " + problem);
        System.exit(2);
        throw new IllegalStateException();
    }

    private void tick() {
        Bayeux now = bayeux;
        if (now != null) {
            Map<String, Object> data = new LinkedHashMap<>();
            data.put("tick", ++now.ticks);
            data.put("server", NAME);
            now.publish("/ticks", data);
        }
    }

    /** One life of the Bayeux server: a restart throws it away and makes a new one. */
    private final class Bayeux {
        private final Server jetty = new Server();
        private final ServerConnector connector = new ServerConnector(jetty, 1, 1);
        private final BayeuxServerImpl impl = new BayeuxServerImpl();
        private long ticks;

        private Bayeux() throws Exception {
            connector.setHost("127.0.0.1");
            connector.setPort(port);
            // A held connect must not look like an idle connection.
            connector.setIdleTimeout(timeoutMs + 30000);
            jetty.addConnector(connector);

            ServletContextHandler context = new ServletContextHandler("/");
            jetty.setHandler(context);
            context.insertHandler(WebSocketUpgradeHandler.from(jetty, context));

            configure(context);
            context.getServletContext().setAttribute(BayeuxServer.ATTRIBUTE, impl);
            ServletHolder holder = new ServletHolder(new CometDServlet());
            holder.setAsyncSupported(true);
            holder.setInitOrder(1);
            // Matches /cometd, /cometd/ and /cometd/handshake alike.
            context.addServlet(holder, "/cometd/*");
            try {
                jetty.start();
            } catch (Exception x) {
                jetty.stop();
                throw x;
            }
        }

        private void configure(ServletContextHandler context) {
            impl.setOption("timeout", timeoutMs);
            impl.setOption("interval", intervalMs);
            impl.setOption("maxInterval", maxIntervalMs);
            // CometD by itself looks only for the Jakarta WebSocket transport.
            impl.setOption("transports", "org.cometd.server.websocket.jetty.JettyWebSocketTransport,"
                    + "org.cometd.server.http.JSONHttpTransport");
            impl.setOption(BayeuxServerImpl.ALLOWED_TRANSPORTS_OPTION, String.join(",", transports));
            impl.setOption("ws.cometdURLMapping", "/cometd/*");
            impl.setOption("ws.requireHandshakePerConnection", requireHandshakePerConnection);
            if (webSocketMaxMessage != 0) {
                impl.setOption("ws.maxMessageSize", webSocketMaxMessage);
            }
            impl.setOption(Context.class.getName(), context.getContext());

            impl.setSecurityPolicy(new Policy());
            impl.addListener(new BayeuxServer.SessionListener() {
                @Override
                public void sessionAdded(ServerSession session, ServerMessage message) {
                    handshakes.incrementAndGet();
                    session.addListener(new HeldListener());
                }
            });
            impl.addExtension(new BayeuxServer.Extension() {
                @Override
                public boolean rcv(ServerSession from, ServerMessage.Mutable message) {
                    if (from != null) {
                        publishes.incrementAndGet();
                    }
                    return true;
                }

                @Override
                public boolean rcvMeta(ServerSession from, ServerMessage.Mutable message) {
                    if (from != null) {
                        switch (message.getChannel()) {
                            case Channel.META_CONNECT -> connects.incrementAndGet();
                            case Channel.META_DISCONNECT -> disconnects.incrementAndGet();
                            default -> {
                            }
                        }
                    }
                    return true;
                }
            });
            impl.addExtension(new AcknowledgedMessagesExtension());
            impl.addExtension(new TimesyncExtension());
            serve("/service/echo", true);
            serve("/service/fail", false);
            // Somebody is there, but never answers.
            impl.createChannelIfAbsent("/service/slow", channel -> channel.setPersistent(true));
        }

        /**
         * Answers remote calls by what came, as a result or as a failure. This
         * is what CometD's annotation RemoteCall does, whose module is one
         * dependency more.
         */
        private void serve(String name, boolean successful) {
            impl.createChannelIfAbsent(name, channel -> {
                channel.setPersistent(true);
                channel.addListener(new ServerChannel.MessageListener() {
                    @Override
                    public boolean onMessage(ServerSession from, ServerChannel channel, ServerMessage.Mutable message) {
                        ServerMessage.Mutable answer = impl.newMessage();
                        answer.setChannel(name);
                        answer.setId(message.getId());
                        answer.setSuccessful(successful);
                        answer.setData(message.getData());
                        from.deliver(null, answer, Promise.noop());
                        return true;
                    }
                });
            });
        }

        private int port() {
            return connector.getLocalPort();
        }

        private void publish(String channel, Object data) {
            // Asked for each time: the sweeper removes channels without subscribers.
            impl.createChannelIfAbsent(channel).getReference().publish(null, data, Promise.noop());
        }

        private List<ServerSessionImpl> sessions() {
            return impl.getSessions().stream().filter(s -> !s.isLocalSession()).map(s -> (ServerSessionImpl)s).toList();
        }

        /**
         * Each session with a held connect gets the message /meta/disconnect
         * and, in the reply to that connect, the advice none. A session which
         * has no connect at the server would instead learn of it by 402 and
         * the advice handshake at its next connect, so wait until it is held.
         */
        private int disconnect() throws InterruptedException {
            int count = 0;
            long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(2);
            for (ServerSessionImpl session : sessions()) {
                while (session.getAttribute(HELD) == null && System.nanoTime() < end) {
                    Thread.sleep(1);
                }
                session.disconnect();
                ++count;
            }
            return count;
        }

        /**
         * Removed as if expired (true). Removed with false, the session would
         * count as disconnected, and the reply to the held connect would tell
         * so by the advice none. The flush answers the held connect at once,
         * successful and without advice; the next connect then gets
         * 402::session_unknown with the advice handshake.
         */
        private int forget() {
            int count = 0;
            for (ServerSessionImpl session : sessions()) {
                impl.removeServerSession(session, true);
                session.flush();
                ++count;
            }
            return count;
        }

        /** The connections first, so that held connects break off: the shutdown would answer them by 500. */
        private void stop() throws Exception {
            connector.close();
            connector.getConnectedEndPoints().forEach(EndPoint::close);
            jetty.stop();
        }
    }

    private static final class HeldListener implements ServerSession.HeartBeatListener {
        @Override
        public void onSuspended(ServerSession session, ServerMessage message, long timeout) {
            session.setAttribute(HELD, true);
        }

        @Override
        public void onResumed(ServerSession session, ServerMessage message, boolean timeout) {
            session.removeAttribute(HELD);
        }
    }

    private final class Policy extends DefaultSecurityPolicy {
        @Override
        public boolean canHandshake(BayeuxServer server, ServerSession session, ServerMessage message) {
            return token == null || ("Bearer " + token).equals(message.getBayeuxContext().getHeader("Authorization"));
        }

        @Override
        public boolean canCreate(BayeuxServer server, ServerSession session, String channel, ServerMessage message) {
            return !denied(channel) && super.canCreate(server, session, channel, message);
        }

        @Override
        public boolean canSubscribe(BayeuxServer server, ServerSession session, ServerChannel channel, ServerMessage message) {
            return !denied(channel.getId()) && super.canSubscribe(server, session, channel, message);
        }

        @Override
        public boolean canPublish(BayeuxServer server, ServerSession session, ServerChannel channel, ServerMessage message) {
            return !denied(channel.getId()) && super.canPublish(server, session, channel, message);
        }

        private static boolean denied(String channel) {
            return channel.equals("/denied") || channel.startsWith("/denied/");
        }
    }

    /** What the control interface cannot do; answered with the status and the reason. */
    private static final class Refused extends Exception {
        private final int status;

        private Refused(int status, String reason) {
            super(reason);
            this.status = status;
        }
    }

    private void control(HttpExchange exchange) throws IOException {
        int status = 200;
        String answer;
        Runnable after = null;
        try {
            String path = exchange.getRequestURI().getPath();
            Map<String, String> query = query(exchange.getRequestURI().getRawQuery());
            switch (path) {
                case "/publish" -> answer = "published " + publish(query);
                case "/disconnect" -> answer = "disconnected " + up().disconnect();
                case "/forget" -> answer = "forgotten " + up().forget();
                case "/sessions" -> {
                    Bayeux now = bayeux;
                    answer = String.valueOf(now == null ? 0 : now.sessions().size());
                }
                case "/stats" -> answer = "{\"handshakes\":%d,\"connects\":%d,\"disconnects\":%d,\"publishes\":%d}"
                        .formatted(handshakes.get(), connects.get(), disconnects.get(), publishes.get());
                case "/restart" -> {
                    long downMs = number(query, "down_ms", 0, 600_000);
                    startRestart();
                    after = () -> restart(downMs);
                    answer = "restarting";
                }
                default -> throw new Refused(404, "no such command: " + path);
            }
        } catch (Refused x) {
            status = x.status;
            answer = x.getMessage();
        } catch (Exception x) {
            status = 400;
            answer = x.toString();
        }
        byte[] bytes = answer.getBytes(StandardCharsets.UTF_8);
        exchange.getResponseHeaders().set("Content-Type", "text/plain");
        exchange.sendResponseHeaders(status, bytes.length);
        exchange.getResponseBody().write(bytes);
        exchange.close();
        if (after != null) {
            after.run();
        }
    }

    private Bayeux up() throws Refused {
        Bayeux now = bayeux;
        if (now == null) {
            throw new Refused(400, "the server is down for a restart");
        }
        return now;
    }

    private long publish(Map<String, String> query) throws Refused {
        String channel = query.getOrDefault("channel", "");
        if (!channel.matches("(/[^/*]+)+") || channel.startsWith("/meta/") || channel.startsWith("/service/")) {
            throw new Refused(400, "not a channel to publish to: " + channel);
        }
        long count = number(query, "count", 1, 1_000_000);
        String pad = "x".repeat((int)number(query, "size", 0, 10_000_000));
        Bayeux now = up();
        for (long i = 0; i < count; ++i) {
            Map<String, Object> data = new LinkedHashMap<>();
            data.put("n", i);
            data.put("pad", pad);
            now.publish(channel, data);
        }
        return count;
    }

    private synchronized void startRestart() throws Refused {
        if (restarting) {
            throw new Refused(400, "already restarting");
        }
        restarting = true;
    }

    private void restart(long downMs) {
        try {
            Bayeux old = bayeux;
            bayeux = null;
            old.stop();
            Thread.sleep(downMs);
            bayeux = startAgain();
            synchronized (this) {
                restarting = false;
            }
        } catch (Exception x) {
            x.printStackTrace();
            System.exit(1);
        }
    }

    /** Tries for a while: another program may have the port for a moment. */
    private Bayeux startAgain() throws Exception {
        for (int i = 0; ; ++i) {
            try {
                return new Bayeux();
            } catch (IOException x) {
                if (i == 50 || !(x instanceof BindException || x.getCause() instanceof BindException)) {
                    throw x;
                }
                Thread.sleep(100);
            }
        }
    }

    private static long number(Map<String, String> query, String name, long fallback, long max) throws Refused {
        String value = query.get(name);
        if (value == null) {
            return fallback;
        }
        if (!value.matches("[0-9]{1,9}") || Long.parseLong(value) > max) {
            throw new Refused(400, name + ": not a number from 0 to " + max + ": " + value);
        }
        return Long.parseLong(value);
    }

    private static Map<String, String> query(String raw) {
        Map<String, String> result = new HashMap<>();
        if (raw != null) {
            for (String pair : raw.split("&")) {
                int at = pair.indexOf('=');
                if (at > 0) {
                    result.put(pair.substring(0, at), URLDecoder.decode(pair.substring(at + 1), StandardCharsets.UTF_8));
                }
            }
        }
        return result;
    }
}
