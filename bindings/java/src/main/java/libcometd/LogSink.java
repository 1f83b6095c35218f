package libcometd;

import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.atomic.AtomicLong;

/**
 * Hands the lines of the library to a logger, on a daemon thread: the thread that speaks is often the one of all
 * clients, and does not wait. When too many are behind, the rest is lost, and counted.
 */
final class LogSink implements Runnable {
    private static final int CAPACITY = 1024;
    private static final Cometd.LogFunction TAKE = LogSink::take;
    /** By the numbers of the library. */
    private static final System.Logger.Level[] LEVELS = {
        System.Logger.Level.OFF, System.Logger.Level.ERROR, System.Logger.Level.WARNING,
        System.Logger.Level.INFO, System.Logger.Level.DEBUG, System.Logger.Level.TRACE
    };
    private static volatile LogSink current;

    static {
        Functions.name(TAKE, "log");
    }

    private record Entry(int level, String target, String text) {}

    private static final Entry END = new Entry(0, "", "");

    private final System.Logger logger;
    private final ArrayBlockingQueue<Entry> lines = new ArrayBlockingQueue<>(CAPACITY);
    private final AtomicLong lost = new AtomicLong();
    private final Thread thread = new Thread(null, this, "cometd log", 0, false);

    private LogSink(System.Logger logger) {
        this.logger = logger;
    }

    static synchronized void set(System.Logger logger) {
        int level = 0;
        LogSink next = null;
        if (logger != null) {
            next = new LogSink(logger);
            next.thread.setDaemon(true);
            next.thread.start();
            for (int number = 1; number < LEVELS.length; number++) {
                level = logger.isLoggable(LEVELS[number]) ? number : level;
            }
        }
        LogSink before = current;
        current = next;
        int status = Cometd.cometd_log_set(level, next == null ? null : TAKE, 0, null);
        if (before != null) {
            before.end();
        }
        Cometd.check(status, new long[1]);
    }

    private static void take(long user, int level, long target, long text) {
        try {
            LogSink sink = current;
            if (sink != null && !sink.lines.offer(new Entry(level, Cometd.string(target), Cometd.string(text)))) {
                sink.lost.incrementAndGet();
            }
        } catch (Throwable ignored) {
            // There is nobody to tell.
        }
    }

    /** What is there is written before. */
    private void end() {
        boolean interrupted = false;
        while (thread.isAlive()) {
            try {
                lines.put(END);
                thread.join();
            } catch (InterruptedException interrupt) {
                interrupted = true;
            }
        }
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
    }

    @Override
    public void run() {
        try {
            for (Entry line = lines.take(); line != END; line = lines.take()) {
                write(line);
            }
        } catch (InterruptedException end) {
            // Nobody else knows the thread.
        }
    }

    private void write(Entry line) {
        try {
            logger.log(LEVELS[Math.min(line.level, LEVELS.length - 1)], line.target + ": " + line.text);
            long count = lost.getAndSet(0);
            if (count > 0) {
                logger.log(System.Logger.Level.WARNING, count + " log lines were lost");
            }
        } catch (RuntimeException problem) {
            // A logger that fails loses a line, and not those behind it.
        }
    }
}
