package cometd_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"cometd"
)

func TestEventsInOrder(t *testing.T) {
	eachServer(t, func(t *testing.T, server *server) {
		client := connected(t, server.url)
		if err := client.Subscribe(limited(t), "/flood"); err != nil {
			t.Fatal(err)
		}
		const count = 10_000
		server.do(t, "/publish?channel=/flood&count=%d", count)
		next := 0
		for event := range client.Events(limited(t)) {
			if event.Type != cometd.EventMessage {
				continue
			}
			var data struct{ N int }
			if err := json.Unmarshal(event.Data, &data); err != nil || data.N != next || event.Channel != "/flood" {
				t.Fatalf("event %d is %+v, %v", next, event, err)
			}
			if next++; next == count {
				break
			}
		}
		if next != count {
			t.Fatalf("only %d events came", next)
		}
	})
}

// Each of these wakes the client anew.
func TestEventsOneByOne(t *testing.T) {
	server := startDemo(t)
	client := connected(t, server.url)
	if err := client.Subscribe(limited(t), "/a"); err != nil {
		t.Fatal(err)
	}
	go func() {
		for range 1000 {
			server.do(t, "/publish?channel=/a")
		}
	}()
	next := 0
	for event := range client.Events(limited(t)) {
		if event.Type != cometd.EventMessage {
			continue
		}
		if next++; next == 1000 {
			return
		}
	}
	t.Fatalf("only %d events came", next)
}

func TestPublish(t *testing.T) {
	eachServer(t, func(t *testing.T, server *server) {
		client := connected(t, server.url)
		if err := client.Subscribe(limited(t), "/a"); err != nil {
			t.Fatal(err)
		}
		if err := client.Publish(limited(t), "/a", map[string]int{"n": 7}); err != nil {
			t.Fatal(err)
		}
		event := await(t, client, func(event cometd.Event) bool { return event.Type == cometd.EventMessage })
		if string(event.Data) != `{"n":7}` {
			t.Fatalf("%+v", event)
		}
		err := client.Publish(limited(t), "/denied/x", 1)
		var failure *cometd.Error
		if !errors.As(err, &failure) || failure.Phase != cometd.PhasePublish || failure.BayeuxCode != 403 {
			t.Fatalf("%#v", err)
		}
	})
}

// A loop over events may call and wait: what is read meanwhile is kept.
func TestPublishInsideTheLoop(t *testing.T) {
	server := startDemo(t)
	client := connected(t, server.url)
	if err := client.Subscribe(limited(t), "/many"); err != nil {
		t.Fatal(err)
	}
	server.do(t, "/publish?channel=/many&count=2000")
	next := 0
	for event := range client.Events(limited(t)) {
		if event.Type != cometd.EventMessage {
			continue
		}
		if next%100 == 0 {
			if err := client.Publish(limited(t), "/other", next); err != nil {
				t.Fatal(err)
			}
		}
		if !strings.HasPrefix(string(event.Data), fmt.Sprintf(`{"n":%d,`, next)) {
			t.Fatalf("event %d is %s", next, event.Data)
		}
		if next++; next == 2000 {
			return
		}
	}
	t.Fatalf("only %d events came", next)
}

func TestManyPublishers(t *testing.T) {
	server := startDemo(t)
	client := connected(t, server.url)
	var group sync.WaitGroup
	for n := range 100 {
		group.Add(1)
		go func() {
			defer group.Done()
			if err := client.Publish(limited(t), "/a", n); err != nil {
				t.Error(err)
			}
		}()
	}
	group.Wait()
}

func TestDeniedSubscribe(t *testing.T) {
	eachServer(t, func(t *testing.T, server *server) {
		client := connected(t, server.url)
		err := client.Subscribe(limited(t), "/a", "/denied/x")
		var failure *cometd.Error
		if !errors.As(err, &failure) {
			t.Fatalf("%#v", err)
		}
		if failure.Channel != "/denied/x" || failure.Phase != cometd.PhaseSubscribe || failure.BayeuxCode != 403 ||
			failure.Fatal || failure.RetryIn >= 0 || !errors.Is(err, cometd.ErrRefused) || errors.Is(err, cometd.ErrTimeout) {
			t.Fatalf("%#v", failure)
		}
	})
}

func TestLostSession(t *testing.T) {
	eachServer(t, func(t *testing.T, server *server) {
		client := connected(t, server.url)
		if err := client.Subscribe(limited(t), "/a"); err != nil {
			t.Fatal(err)
		}
		server.do(t, "/forget")
		event := await(t, client, func(event cometd.Event) bool { return event.Type == cometd.EventSubscribed })
		if !event.Renewed || event.Channel != "/a" {
			t.Fatalf("%+v", event)
		}
		server.do(t, "/publish?channel=/a")
		await(t, client, func(event cometd.Event) bool { return event.Type == cometd.EventMessage })
	})
}

func TestUnsubscribe(t *testing.T) {
	server := startDemo(t)
	client := connected(t, server.url)
	if err := client.Subscribe(limited(t), "/a", "/b"); err != nil {
		t.Fatal(err)
	}
	if err := client.Unsubscribe(limited(t), "/a"); err != nil {
		t.Fatal(err)
	}
	server.do(t, "/publish?channel=/a")
	server.do(t, "/publish?channel=/b")
	event := await(t, client, func(event cometd.Event) bool { return event.Type == cometd.EventMessage })
	if event.Channel != "/b" {
		t.Fatalf("%+v", event)
	}
}

func TestCall(t *testing.T) {
	server := startDemo(t)
	client := connected(t, server.url)
	result, err := client.Call(limited(t), "/service/echo", []int{1, 2})
	if err != nil || string(result) != "[1,2]" {
		t.Fatal(string(result), err)
	}
}

func TestErrors(t *testing.T) {
	server := startDemo(t)
	if _, err := cometd.New("ftp://localhost/"); !errors.Is(err, cometd.ErrInvalidURL) {
		t.Fatal(err)
	}
	if _, err := cometd.New(server.url, cometd.With("nonsense", 1)); !errors.Is(err, cometd.ErrInvalidArgument) {
		t.Fatal(err)
	}
	client := connected(t, server.url)
	if err := client.Subscribe(limited(t), "no channel"); !errors.Is(err, cometd.ErrInvalidChannel) {
		t.Fatal(err)
	}
	if err := client.Subscribe(limited(t)); !errors.Is(err, cometd.ErrInvalidArgument) {
		t.Fatal(err)
	}
	if err := client.Publish(limited(t), "/a", make(chan int)); err == nil {
		t.Fatal("a channel is no JSON")
	}
	client.Close()
	if err := client.Publish(limited(t), "/a", 1); !errors.Is(err, cometd.ErrClosed) {
		t.Fatal(err)
	}
}

func TestWrongTokenIsFatal(t *testing.T) {
	server := startDemo(t, "--token", "right")
	client, err := cometd.New(server.url, cometd.With("bearer_token", "wrong"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	var failure *cometd.Error
	if err := client.Connect(limited(t)); !errors.As(err, &failure) || !failure.Fatal || failure.Phase != cometd.PhaseHandshake {
		t.Fatalf("%#v", err)
	}
}

func TestContextEndsAWait(t *testing.T) {
	server := startDemo(t)
	server.do(t, "/fail?status=503&count=1000000&retry_after=100")
	client, err := cometd.New(server.url)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		eventually(t, "a failure", func() bool { return client.Err() != nil })
		cancel()
	}()
	err = client.Connect(ctx)
	var failure *cometd.Error
	if !errors.Is(err, context.Canceled) || !errors.As(err, &failure) || failure.HTTPStatus != http.StatusServiceUnavailable ||
		failure.RetryIn < 100*time.Second {
		t.Fatalf("%#v", err)
	}
	for range client.Events(ctx) {
		t.Fatal("events of a context that has ended")
	}
	if err := client.Publish(ctx, "/a", 1); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

func TestTokenIsRenewed(t *testing.T) {
	eachTokenServer(t, func(t *testing.T, server *server) {
		asked := make(chan struct{})
		answer := make(chan string)
		client, err := cometd.New(server.url, cometd.With("bearer_token", "old"),
			cometd.WithToken(func(ctx context.Context) (string, error) {
				close(asked)
				select {
				case value := <-answer:
					return value, nil
				case <-ctx.Done():
					return "", ctx.Err()
				}
			}))
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		go func() {
			<-asked
			answer <- "Bearer new"
		}()
		if err := client.Connect(limited(t)); err != nil {
			t.Fatal(err)
		}
	})
}

func TestTokenProviderThatFails(t *testing.T) {
	server := startDemo(t, "--token", "new")
	for text, provide := range map[string]func(context.Context) (string, error){
		"panic: out of order": func(context.Context) (string, error) { panic("out of order") },
		"no window is open":   func(context.Context) (string, error) { return "", errors.New("no window is open") },
		"an empty text":       func(context.Context) (string, error) { return "", nil },
		"header":              func(context.Context) (string, error) { return "a\x01b", nil },
	} {
		client, err := cometd.New(server.url, cometd.WithToken(provide))
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		if err := client.Connect(limited(t)); !errors.Is(err, cometd.ErrRefused) {
			t.Errorf("%#v", err)
		}
		var told []string
		for event := range client.Events(limited(t)) {
			if event.Err != nil {
				told = append(told, event.Err.Message)
			}
		}
		if !strings.Contains(strings.Join(told, "\n"), text) {
			t.Errorf("%q is not in %q", text, told)
		}
	}
}

func TestTokenProviderEndsWithItsClient(t *testing.T) {
	server := startDemo(t, "--token", "new")
	asked, ended := make(chan struct{}), make(chan struct{})
	client, err := cometd.New(server.url, cometd.WithToken(func(ctx context.Context) (string, error) {
		close(asked)
		<-ctx.Done()
		close(ended)
		return "", ctx.Err()
	}))
	if err != nil {
		t.Fatal(err)
	}
	go client.Connect(limited(t))
	<-asked
	client.Close()
	<-ended
}

func TestDisconnect(t *testing.T) {
	eachServer(t, func(t *testing.T, server *server) {
		client := connected(t, server.url)
		if err := client.Disconnect(limited(t)); err != nil {
			t.Fatal(err)
		}
		if client.State() != cometd.StateClosed {
			t.Fatal(client.State())
		}
		eventually(t, "the server has seen it", func() bool {
			return strings.Contains(server.do(t, "/stats"), `"disconnects":1`)
		})
		closed := false
		for event := range client.Events(limited(t)) {
			closed = event.Type == cometd.EventClosed
		}
		if !closed {
			t.Fatal("EventClosed is not the last one")
		}
	})
}

func TestPanicInTheLoop(t *testing.T) {
	server := startDemo(t)
	client := connected(t, server.url)
	if err := client.Subscribe(limited(t), "/a"); err != nil {
		t.Fatal(err)
	}
	server.do(t, "/publish?channel=/a&count=3")
	func() {
		defer func() {
			if recover() != "mine" {
				t.Error("it is not mine")
			}
		}()
		await(t, client, func(event cometd.Event) bool {
			if event.Type == cometd.EventMessage {
				panic("mine")
			}
			return false
		})
	}()
	for n := 1; n < 3; n++ {
		event := await(t, client, func(event cometd.Event) bool { return event.Type == cometd.EventMessage })
		if !strings.HasPrefix(string(event.Data), fmt.Sprintf(`{"n":%d,`, n)) {
			t.Fatalf("%+v", event)
		}
	}
}

func TestClientsThatNobodyClosed(t *testing.T) {
	server := startDemo(t)
	http.DefaultClient.CloseIdleConnections()
	eventually(t, "earlier clients are gone", func() bool { return libraryThreads() == 0 })
	before := descriptors()
	for range 10 {
		client, err := cometd.New(server.url, cometd.WithToken(func(context.Context) (string, error) { return "", nil }))
		if err != nil {
			t.Fatal(err)
		}
		if err := client.Connect(limited(t)); err != nil {
			t.Fatal(err)
		}
	}
	if libraryThreads() == 0 {
		t.Fatal("no thread of the library has the name that is looked for")
	}
	eventually(t, "threads, descriptors and goroutines are gone", func() bool {
		runtime.GC()
		http.DefaultClient.CloseIdleConnections()
		return libraryThreads() == 0 && descriptors() <= before && !strings.Contains(stacks(), "(*session).run(")
	})
}

func stacks() string {
	text := make([]byte, 1<<20)
	return string(text[:runtime.Stack(text, true)])
}

// The child of TestEndWithClientsAlive.
func TestMain(m *testing.M) {
	url := os.Getenv("COMETD_TEST_CHILD")
	if url == "" {
		os.Exit(m.Run())
	}
	if err := cometd.SetLogger(slog.New(slog.NewTextHandler(io.Discard, &slog.HandlerOptions{Level: cometd.LevelBodies}))); err != nil {
		panic(err)
	}
	for range 3 {
		client, err := cometd.New(url,
			cometd.WithHeaders(func(context.Context, cometd.Request) (http.Header, error) { return nil, nil }),
			cometd.WithExtension(cometd.Extension{
				Incoming: func(message map[string]any) (map[string]any, error) { return message, nil },
			}))
		if err != nil {
			panic(err)
		}
		ctx := context.Background()
		if err := client.Connect(ctx); err != nil {
			panic(err)
		}
		if err := client.Subscribe(ctx, "/ticks"); err != nil {
			panic(err)
		}
		go func() {
			for range client.Events(ctx) {
			}
		}()
	}
}

func TestEndWithClientsAlive(t *testing.T) {
	server := startDemo(t, "--tick-ms", "1")
	for range 5 {
		child := exec.CommandContext(limited(t), os.Args[0])
		child.Env = append(os.Environ(), "COMETD_TEST_CHILD="+server.url)
		if output, err := child.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, output)
		}
	}
}

func TestOptions(t *testing.T) {
	found := false
	for _, option := range cometd.Options() {
		if option.Name == "" || option.Type == "" || option.Text == "" {
			t.Errorf("%+v", option)
		}
		found = found || option.Name == "timeout_ms" && option.Unit == "ms" && !option.Secret
	}
	if !found || cometd.Version() == "" {
		t.Fatal("timeout_ms is missing")
	}
}
