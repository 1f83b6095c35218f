package cometd_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cometd"
)

// limit is how long anything may take on a slow machine before it counts as not happening.
const limit = time.Minute

type server struct {
	url, control string
}

func root(path ...string) string { return filepath.Join(append([]string{"..", ".."}, path...)...) }

func startServer(t *testing.T, command string, arguments ...string) *server {
	t.Helper()
	process := exec.Command(command, arguments...)
	process.Stderr = os.Stderr
	input, err := process.StdinPipe() // it ends with it
	if err != nil {
		t.Fatal(err)
	}
	output, err := process.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := process.Start(); err != nil {
		t.Fatalf("missing: %v; make lib builds the demo server", err)
	}
	t.Cleanup(func() {
		input.Close()
		process.Wait()
	})
	line, _ := bufio.NewReader(output).ReadString('\n')
	var port, control int
	if _, err := fmt.Sscanf(line, "READY %d %d", &port, &control); err != nil {
		t.Fatalf("%s did not start: %q", command, line)
	}
	go io.Copy(io.Discard, output)
	return &server{fmt.Sprintf("http://127.0.0.1:%d/cometd", port), fmt.Sprintf("http://127.0.0.1:%d", control)}
}

func startDemo(t *testing.T, arguments ...string) *server {
	t.Helper()
	program := os.Getenv("COMETD_DEMO_SERVER")
	if program == "" {
		program = root("build", "bin", "cometd_demo_server")
	}
	return startServer(t, program, append([]string{"--port", "0", "--quiet", "--exit-with-stdin", "--tick-ms", "0"}, arguments...)...)
}

// eachServer runs a test against the demo server and against CometD itself, which -short leaves out.
func eachServer(t *testing.T, test func(t *testing.T, server *server)) { eachServerWith(t, test) }

func eachTokenServer(t *testing.T, test func(t *testing.T, server *server)) {
	eachServerWith(t, test, "--token", "new")
}

func eachServerWith(t *testing.T, test func(t *testing.T, server *server), flags ...string) {
	t.Run("demo", func(t *testing.T) { test(t, startDemo(t, flags...)) })
	t.Run("cometd-java", func(t *testing.T) {
		if testing.Short() {
			t.Skip("-short: without CometD's server")
		}
		test(t, startServer(t, "bash", append([]string{root("tests", "servers", "run"), "cometd-java", "--port", "0"}, flags...)...))
	})
}

// do has the server do something by its control interface.
func (s *server) do(t testing.TB, format string, arguments ...any) string {
	t.Helper()
	answer, err := http.Get(s.control + fmt.Sprintf(format, arguments...))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, _ := io.ReadAll(answer.Body)
	if answer.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", answer.Status, text)
	}
	return string(text)
}

func limited(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	return ctx
}

func connected(t *testing.T, url string, options ...cometd.Option) *cometd.Client {
	t.Helper()
	client, err := cometd.New(url, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	if err := client.Connect(limited(t)); err != nil {
		t.Fatal(err)
	}
	return client
}

// await reads events until one is as wanted.
func await(t *testing.T, client *cometd.Client, wanted func(cometd.Event) bool) cometd.Event {
	t.Helper()
	for event := range client.Events(limited(t)) {
		if wanted(event) {
			return event
		}
	}
	t.Fatal("the event did not come")
	return cometd.Event{}
}

// eventually waits for a condition that nothing else tells of.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for until := time.Now().Add(limit); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func libraryThreads() (count int) {
	names, _ := filepath.Glob("/proc/self/task/*/comm")
	for _, name := range names {
		if text, _ := os.ReadFile(name); strings.HasPrefix(string(text), "cometd-") {
			count++
		}
	}
	return count
}

func descriptors() int {
	files, _ := os.ReadDir("/proc/self/fd")
	return len(files)
}
