package libcometd;

import java.io.BufferedReader;
import java.io.File;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** A server in a process of its own, which ends with its standard input; and its control interface. */
final class Server implements AutoCloseable {
    static final Path BUILD = Path.of(System.getProperty("cometd.build")).toAbsolutePath().normalize();
    static final Path ROOT = Path.of(System.getProperty("cometd.root")).toAbsolutePath().normalize();

    private static final HttpClient HTTP = HttpClient.newHttpClient();

    private final Process process;
    private final String control;
    final String url;

    static Server demo(String... options) {
        List<String> command = new ArrayList<>(List.of(
                BUILD.resolve("bin/cometd_demo_server").toString(),
                "--port", "0", "--quiet", "--exit-with-stdin", "--tick-ms", "0"));
        command.addAll(List.of(options));
        return new Server(command);
    }

    static Server cometd(String... options) {
        List<String> command = new ArrayList<>(List.of(
                "bash", ROOT.resolve("tests/servers/run").toString(), "cometd-java", "--port", "0"));
        command.addAll(List.of(options));
        return new Server(command);
    }

    private Server(List<String> command) {
        try {
            process = new ProcessBuilder(command)
                    .directory(new File(ROOT.toString()))
                    .redirectError(ProcessBuilder.Redirect.INHERIT)
                    .start();
            BufferedReader output = new BufferedReader(
                    new InputStreamReader(process.getInputStream(), StandardCharsets.UTF_8));
            String line = output.readLine();
            if (line == null || !line.startsWith("READY ")) {
                throw new IllegalStateException("the server said " + line);
            }
            String[] words = line.split(" ");
            url = "http://127.0.0.1:" + words[1] + "/cometd";
            control = "http://127.0.0.1:" + words[2];
        } catch (IOException problem) {
            throw new UncheckedIOException(problem);
        }
    }

    /** What the control interface answers. */
    String ask(String request) {
        try {
            HttpResponse<String> answer = HTTP.send(
                    HttpRequest.newBuilder(URI.create(control + request)).build(),
                    HttpResponse.BodyHandlers.ofString());
            if (answer.statusCode() != 200) {
                throw new IllegalStateException(request + ": " + answer.body());
            }
            return answer.body();
        } catch (IOException problem) {
            throw new UncheckedIOException(problem);
        } catch (InterruptedException interrupt) {
            throw new IllegalStateException(interrupt);
        }
    }

    @Override
    public void close() {
        try {
            process.getOutputStream().close();
            process.waitFor();
        } catch (IOException | InterruptedException problem) {
            process.destroyForcibly();
        }
    }
}
