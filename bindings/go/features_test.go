package cometd_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"cometd"
)

func isMessage(event cometd.Event) bool { return event.Type == cometd.EventMessage }

type memoryStore struct {
	mu        sync.Mutex
	positions map[string]int64
	err       error
}

func (s *memoryStore) Load(channel string) (int64, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	position, ok := s.positions[channel]
	return position, ok, s.err
}

func (s *memoryStore) Save(channel string, position int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.positions[channel] = position
	}
	return s.err
}

func (s *memoryStore) set(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func replaying(t *testing.T, server *server, store cometd.ReplayStore) *cometd.Client {
	t.Helper()
	return connected(t, server.url, cometd.With("replay", "all"), cometd.WithReplayStore(store))
}

// What was in the loop when the process ended comes again, and nothing before it.
func TestReplayPositionsSurvive(t *testing.T) {
	server := startDemo(t)
	store := &memoryStore{positions: map[string]int64{}}
	client := replaying(t, server, store)
	if err := client.Subscribe(limited(t), "/event/a"); err != nil {
		t.Fatal(err)
	}
	server.do(t, "/publish?channel=/event/a&count=5")
	seen := 0
	var last int64
	func() {
		defer func() { recover() }()
		for event := range client.Events(limited(t)) {
			if !isMessage(event) {
				continue
			}
			if seen++; seen == 3 {
				panic("the third one is not handled")
			}
			last, _ = event.ReplayID()
		}
	}()
	if position, _, _ := store.Load("/event/a"); position != last || last == 0 {
		t.Fatalf("saved %d in place of %d", position, last)
	}
	client.Close()
	client = replaying(t, server, store)
	if err := client.Subscribe(limited(t), "/event/a"); err != nil {
		t.Fatal(err)
	}
	for n := 2; n < 5; n++ {
		event := await(t, client, isMessage)
		if !strings.Contains(string(event.Data), fmt.Sprintf(`"n":%d,`, n)) {
			t.Fatalf("%s in place of %d", event.Data, n)
		}
	}
}

// Of two that are handled at a time, the first one is the last to be done.
func TestReplayPositionWaitsForEarlierEvents(t *testing.T) {
	server := startDemo(t)
	store := &memoryStore{positions: map[string]int64{}}
	client := replaying(t, server, store)
	if err := client.Subscribe(limited(t), "/event/a"); err != nil {
		t.Fatal(err)
	}
	started, finish, finished := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(finished)
		await(t, client, func(event cometd.Event) bool {
			if !isMessage(event) {
				return false
			}
			close(started)
			<-finish
			return true
		})
	}()
	server.do(t, "/publish?channel=/event/a")
	<-started
	server.do(t, "/publish?channel=/event/a")
	second := await(t, client, isMessage)
	if _, ok, _ := store.Load("/event/a"); ok {
		t.Error("the first one is not done")
	}
	close(finish)
	<-finished
	id, _ := second.ReplayID()
	if position, _, _ := store.Load("/event/a"); position != id {
		t.Fatalf("saved %d in place of %d", position, id)
	}
}

func TestReplayStoreThatFails(t *testing.T) {
	server := startDemo(t)
	full := errors.New("the disk is full")
	store := &memoryStore{positions: map[string]int64{}, err: full}
	client := replaying(t, server, store)
	if err := client.Subscribe(limited(t), "/event/a?x=1"); !errors.Is(err, full) {
		t.Fatal(err)
	}
	store.set(nil)
	if err := client.Subscribe(limited(t), "/event/a"); err != nil {
		t.Fatal(err)
	}
	store.set(full)
	server.do(t, "/publish?channel=/event/a")
	await(t, client, isMessage)
	event := await(t, client, func(event cometd.Event) bool { return event.Type == cometd.EventError })
	if !errors.Is(event.Err, full) || event.Channel != "/event/a" {
		t.Fatalf("%+v", event)
	}
	store.set(nil)
	server.do(t, "/publish?channel=/event/a")
	id, _ := await(t, client, isMessage).ReplayID()
	if position, _, _ := store.Load("/event/a"); position != id {
		t.Fatalf("saved %d in place of %d", position, id)
	}
}

type panickingStore struct{}

func (panickingStore) Load(string) (int64, bool, error) { panic("load") }
func (panickingStore) Save(string, int64) error         { panic("save") }

func TestReplayStoreThatPanics(t *testing.T) {
	server := startDemo(t)
	client := replaying(t, server, panickingStore{})
	if err := client.Subscribe(limited(t), "/event/a"); err == nil || !strings.Contains(err.Error(), "panic: load") {
		t.Fatal(err)
	}
	if err := client.SetReplayPosition("/event/a", cometd.ReplayNew); err != nil {
		t.Fatal(err)
	}
	if err := client.Subscribe(limited(t), "/event/a"); err != nil {
		t.Fatal(err)
	}
	server.do(t, "/publish?channel=/event/a")
	await(t, client, isMessage)
	event := await(t, client, func(event cometd.Event) bool { return event.Type == cometd.EventError })
	if !strings.Contains(event.Err.Message, "panic: save") {
		t.Fatalf("%+v", event)
	}
}

type closingStore struct{ client **cometd.Client }

func (s closingStore) Load(string) (int64, bool, error) { return 0, false, (*s.client).Close() }
func (closingStore) Save(string, int64) error           { return nil }

func TestCloseInsideAFunctionOfTheProgram(t *testing.T) {
	server := startDemo(t)
	var client *cometd.Client
	client = replaying(t, server, closingStore{&client})
	if err := client.Subscribe(limited(t), "/event/a"); !errors.Is(err, cometd.ErrClosed) {
		t.Fatal(err)
	}
}

func TestSetReplayPosition(t *testing.T) {
	server := startDemo(t)
	server.do(t, "/publish?channel=/event/a&count=3")
	client := connected(t, server.url, cometd.With("replay", "new"))
	if err := client.SetReplayPosition("/event/a", 2); err != nil {
		t.Fatal(err)
	}
	if err := client.Subscribe(limited(t), "/event/a"); err != nil {
		t.Fatal(err)
	}
	if id, ok := await(t, client, isMessage).ReplayID(); !ok || id != 3 {
		t.Fatal(id, ok)
	}
	if err := client.SetReplayPosition("/a/*", 2); !errors.Is(err, cometd.ErrInvalidChannel) {
		t.Fatal(err)
	}
}

func TestHandshakeProvider(t *testing.T) {
	server := startDemo(t, "--challenge", "secret")
	client := connected(t, server.url, cometd.With("backoff_ms", "10,100"),
		cometd.WithHandshake(func(_ context.Context, handshake cometd.Handshake) (any, error) {
			if handshake.Attempt == 1 {
				return nil, nil
			}
			var refusal struct {
				Ext struct{ Authentication struct{ Challenge string } }
			}
			if err := json.Unmarshal(handshake.Refusal, &refusal); err != nil {
				return nil, err
			}
			answer := map[string]string{"answer": refusal.Ext.Authentication.Challenge + ":secret"}
			return map[string]any{"ext": map[string]any{"authentication": answer}}, nil
		}))
	if client.SessionID() == "" || client.Transport() != cometd.TransportLongPolling {
		t.Fatal(client.SessionID(), client.Transport())
	}
}

func TestHeaderProvider(t *testing.T) {
	server := startDemo(t, "--token", "new")
	var mu sync.Mutex
	var first cometd.Request
	connected(t, server.url, cometd.WithHeaders(func(_ context.Context, request cometd.Request) (http.Header, error) {
		mu.Lock()
		defer mu.Unlock()
		if first.Method == "" {
			first = request
		}
		return http.Header{"Authorization": {"Bearer new"}}, nil
	}))
	mu.Lock()
	defer mu.Unlock()
	if first.Phase != cometd.PhaseHandshake || first.Method != "POST" || !strings.HasPrefix(first.URL, server.url) ||
		!bytes.Contains(first.Body, []byte("/meta/handshake")) {
		t.Fatalf("%+v, %s", first, first.Body)
	}
}

func TestProvidersThatFail(t *testing.T) {
	server := startDemo(t)
	for text, option := range map[string]cometd.Option{
		"panic: handshake": cometd.WithHandshake(func(context.Context, cometd.Handshake) (any, error) { panic("handshake") }),
		"unsupported type": cometd.WithHandshake(func(context.Context, cometd.Handshake) (any, error) {
			return make(chan int), nil
		}),
		"no signature":   cometd.WithHeaders(func(context.Context, cometd.Request) (http.Header, error) { return nil, errors.New("no signature") }),
		"panic: headers": cometd.WithHeaders(func(context.Context, cometd.Request) (http.Header, error) { panic("headers") }),
		"not acceptable": cometd.WithHeaders(func(context.Context, cometd.Request) (http.Header, error) {
			return http.Header{"Content-Length": {"1"}}, nil
		}),
	} {
		client, err := cometd.New(server.url, option, cometd.With("backoff_ms", "10,100"), cometd.With("number_of_retries", 1))
		if err != nil {
			t.Fatal(err)
		}
		err = client.Connect(limited(t))
		var told []string
		for event := range client.Events(limited(t)) {
			if event.Err != nil {
				told = append(told, event.Err.Message)
			}
		}
		if err == nil || !strings.Contains(strings.Join(told, "\n"), text) {
			t.Errorf("%v; %q is not in %q", err, text, told)
		}
		client.Close()
	}
}

func requests(t *testing.T, client *cometd.Client) (count int) {
	t.Helper()
	text, err := client.Statistics()
	if err != nil {
		t.Fatal(err)
	}
	var statistics struct{ Requests int }
	if err := json.Unmarshal(text, &statistics); err != nil {
		t.Fatal(err)
	}
	return statistics.Requests
}

func TestBatch(t *testing.T) {
	server := startDemo(t)
	client := connected(t, server.url)
	eventually(t, "the connect is held", func() bool { return requests(t, client) >= 3 })
	before := requests(t, client)
	mine := errors.New("mine")
	err := client.Batch(limited(t), func(batch *cometd.Batch) error {
		batch.Subscribe("/a", "/denied/x")
		batch.Publish("/a", 1)
		batch.Publish("no channel", 2)
		batch.Publish("/a", 3)
		batch.Unsubscribe("/b")
		return mine
	})
	var failure *cometd.Error
	if !errors.Is(err, mine) || !errors.Is(err, cometd.ErrInvalidChannel) || !errors.As(err, &failure) ||
		!strings.Contains(err.Error(), "/denied/x") {
		t.Fatal(err)
	}
	for _, data := range []string{"1", "3"} {
		if event := await(t, client, isMessage); string(event.Data) != data {
			t.Fatalf("%+v", event)
		}
	}
	// The calls, and the connects that bring their messages.
	if sent := requests(t, client) - before; sent > 3 {
		t.Fatalf("%d requests", sent)
	}
}

func TestPanicInABatch(t *testing.T) {
	server := startDemo(t)
	client := connected(t, server.url)
	func() {
		defer func() {
			if recover() != "mine" {
				t.Error("it is not mine")
			}
		}()
		client.Batch(limited(t), func(batch *cometd.Batch) error {
			batch.Subscribe("/a")
			panic("mine")
		})
	}()
	if err := client.Publish(limited(t), "/a", 1); err != nil {
		t.Fatal(err)
	}
	await(t, client, isMessage)
}

func TestFlush(t *testing.T) {
	server := startDemo(t)
	client := connected(t, server.url)
	if err := client.Flush(limited(t)); err != nil {
		t.Fatal(err)
	}
	server.do(t, "/fail?status=503&count=1&on=/a")
	ctx, cancel := context.WithCancel(context.Background())
	left := make(chan error)
	// It holds the batch open until its publish was left.
	go client.Batch(limited(t), func(batch *cometd.Batch) error {
		go func() { left <- client.Publish(ctx, "/a", 1) }()
		eventually(t, "the publish is accepted", func() bool { return cometd.Calls(client) == 1 })
		cancel()
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		close(left)
		return nil
	})
	<-left
	if err := client.Flush(limited(t)); !errors.Is(err, cometd.ErrUndelivered) {
		t.Fatal(err)
	}
	if err := client.Flush(limited(t)); err != nil {
		t.Fatal(err)
	}
}

func TestPublishWithRetries(t *testing.T) {
	server := startDemo(t)
	client := connected(t, server.url, cometd.With("backoff_ms", "10,100"))
	server.do(t, "/fail?status=503&count=2&on=/a")
	if err := client.PublishWithRetries(limited(t), "/a", 1, 2); err == nil {
		t.Fatal("two attempts have failed")
	}
	server.do(t, "/fail?status=503&count=2&on=/a")
	if err := client.PublishWithRetries(limited(t), "/a", 1, 0); err != nil {
		t.Fatal(err)
	}
}

func TestAuthorizationOfALiveClient(t *testing.T) {
	server := startDemo(t, "--token", "new")
	client, err := cometd.New(server.url, cometd.With("bearer_token", "old"), cometd.With("await_credentials", true))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	go func() {
		eventually(t, "a refusal", func() bool { return client.Err() != nil })
		if err := client.SetAuthorization("Bearer new"); err != nil {
			t.Error(err)
		}
	}()
	if err := client.Connect(limited(t)); err != nil {
		t.Fatal(err)
	}
}

// lockedBuffer is written by the logger's goroutine.
type lockedBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *lockedBuffer) Write(text []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(text)
}

func TestLogger(t *testing.T) {
	server := startDemo(t)
	var output lockedBuffer
	handler := slog.NewTextHandler(&output, &slog.HandlerOptions{Level: slog.LevelInfo})
	if err := cometd.SetLogger(slog.New(handler)); err != nil {
		t.Fatal(err)
	}
	connected(t, server.url).Close()
	if err := cometd.SetLogger(nil); err != nil {
		t.Fatal(err)
	}
	text := output.text.String()
	if !strings.Contains(text, "level=INFO") || !strings.Contains(text, "target=cometd::") || strings.Contains(text, "level=DEBUG") {
		t.Fatal(text)
	}
	connected(t, server.url).Close()
	if output.text.String() != text {
		t.Fatal("lines behind the end")
	}
}

type panickingHandler struct{ slog.Handler }

func (panickingHandler) Handle(context.Context, slog.Record) error { panic("handler") }

func TestLoggerThatPanics(t *testing.T) {
	server := startDemo(t)
	if err := cometd.SetLogger(slog.New(panickingHandler{slog.NewTextHandler(&lockedBuffer{}, nil)})); err != nil {
		t.Fatal(err)
	}
	connected(t, server.url).Close()
	if err := cometd.SetLogger(nil); err != nil {
		t.Fatal(err)
	}
}

func TestExtensions(t *testing.T) {
	server := startDemo(t)
	var mu sync.Mutex
	var order []string
	note := func(name string, change func(map[string]any) map[string]any) func(map[string]any) (map[string]any, error) {
		return func(message map[string]any) (map[string]any, error) {
			if channel := message["channel"]; channel == "/a" || channel == "/gone" {
				mu.Lock()
				defer mu.Unlock()
				order = append(order, name)
				return change(message), nil
			}
			return message, nil
		}
	}
	same := func(message map[string]any) map[string]any { return message }
	client := connected(t, server.url,
		cometd.WithExtension(cometd.Extension{
			Outgoing: note("out 1", func(message map[string]any) map[string]any {
				if message["channel"] == "/gone" {
					return nil
				}
				message["data"] = map[string]any{"was": message["data"]}
				return message
			}),
			Incoming: note("in 1", same),
		}),
		cometd.WithExtension(cometd.Extension{Outgoing: note("out 2", same)}))
	if err := client.Subscribe(limited(t), "/a"); err != nil {
		t.Fatal(err)
	}
	if err := client.Publish(limited(t), "/a", json.RawMessage("12345678901234567890")); err != nil {
		t.Fatal(err)
	}
	if event := await(t, client, isMessage); string(event.Data) != `{"was":12345678901234567890}` {
		t.Fatalf("%s", event.Data)
	}
	if err := client.Publish(limited(t), "/gone", 1); !errors.Is(err, cometd.ErrMessageDeleted) {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if text := strings.Join(order[:3], ", "); text != "out 2, out 1, in 1" {
		t.Fatal(text)
	}
}

func TestExtensionThatPanics(t *testing.T) {
	server := startDemo(t)
	client := connected(t, server.url, cometd.WithExtension(cometd.Extension{
		Incoming: func(message map[string]any) (map[string]any, error) {
			if message["channel"] == "/a" {
				message["data"] = "damaged"
				panic("extension")
			}
			return message, nil
		},
	}))
	if err := client.Subscribe(limited(t), "/a"); err != nil {
		t.Fatal(err)
	}
	server.do(t, "/publish?channel=/a")
	told := false
	event := await(t, client, func(event cometd.Event) bool {
		told = told || event.Type == cometd.EventError && strings.Contains(event.Err.Message, "panic: extension")
		return isMessage(event)
	})
	if !told || !strings.HasPrefix(string(event.Data), `{"n":0`) {
		t.Fatalf("%v %s", told, event.Data)
	}
}

func TestStreams(t *testing.T) {
	server := startDemo(t)
	client := connected(t, server.url)
	wide, narrow := client.Stream("/a/*"), client.Stream("/a/b")
	if err := client.Subscribe(limited(t), "/a/*", "/c"); err != nil {
		t.Fatal(err)
	}
	first := func(stream *cometd.Stream) string {
		for event := range stream.Messages(limited(t)) {
			return event.Channel
		}
		return ""
	}
	server.do(t, "/publish?channel=/a/x")
	server.do(t, "/publish?channel=/a/b")
	server.do(t, "/publish?channel=/c")
	if one, two := first(wide), first(wide); one != "/a/x" || two != "/a/b" {
		t.Fatal(one, two)
	}
	if channel := first(narrow); channel != "/a/b" {
		t.Fatal(channel)
	}
	if event := await(t, client, isMessage); event.Channel != "/c" {
		t.Fatalf("%+v", event)
	}
	wide.Close()
	narrow.Close()
	server.do(t, "/publish?channel=/a/x")
	if event := await(t, client, isMessage); event.Channel != "/a/x" {
		t.Fatalf("%+v", event)
	}
	stream := client.Stream("/a/*")
	client.Close()
	if channel := first(stream); channel != "" {
		t.Fatal(channel)
	}
}

// What a loop had in its hands when its stream was closed does not count as unread for ever.
func TestStreamClosedWithinItsLoop(t *testing.T) {
	server := startDemo(t)
	client := connected(t, server.url)
	if err := client.Subscribe(limited(t), "/a", "/last"); err != nil {
		t.Fatal(err)
	}
	stream := client.Stream("/a")
	server.do(t, "/publish?channel=/a&count=64")
	for range stream.Messages(limited(t)) {
		stream.Close()
		break
	}
	server.do(t, "/publish?channel=/a&count=200")
	server.do(t, "/publish?channel=/last")
	await(t, client, func(event cometd.Event) bool { return event.Channel == "/last" && isMessage(event) })
}

func TestCloseEndsTheLoopOfAStream(t *testing.T) {
	client := connected(t, startDemo(t).url)
	stream := client.Stream("/a")
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for range stream.Messages(limited(t)) {
		}
	}()
	stream.Close()
	select {
	case <-ended:
	case <-time.After(limit / 2):
		t.Fatal("the loop goes on")
	}
}

func TestOptionsThatTakeSeveralValues(t *testing.T) {
	headers := make(chan http.Header, 10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		headers <- r.Header
		w.WriteHeader(http.StatusForbidden)
	}))
	defer server.Close()
	client, err := cometd.New(server.URL, cometd.With("header", []string{"X-One: 1", "X-Two: a,b"}))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	go client.Connect(limited(t))
	if got := <-headers; got.Get("X-One") != "1" || got.Get("X-Two") != "a,b" {
		t.Fatal(got)
	}
}

// A program that reads its streams only does not stand still because of other events.
func TestStreamAlone(t *testing.T) {
	server := startDemo(t)
	client := connected(t, server.url)
	stream := client.Stream("/a")
	if err := client.Subscribe(limited(t), "/a"); err != nil {
		t.Fatal(err)
	}
	server.do(t, "/publish?channel=/a&count=1000")
	next := 0
	for range stream.Messages(limited(t)) {
		if next++; next == 1000 {
			return
		}
	}
	t.Fatal(next)
}

// In C they would end there.
func TestTextsWithANUL(t *testing.T) {
	if _, err := cometd.New("http://127.0.0.1/", cometd.With("header", "X: a\x00b")); !errors.Is(err, cometd.ErrInvalidArgument) {
		t.Fatal(err)
	}
	client := connected(t, startDemo(t).url)
	if err := client.Subscribe(limited(t), "/a\x00b"); !errors.Is(err, cometd.ErrInvalidArgument) {
		t.Fatal(err)
	}
	if err := client.Publish(limited(t), "/a\x00b", 1); !errors.Is(err, cometd.ErrInvalidArgument) {
		t.Fatal(err)
	}
	if err := client.SetAuthorization("a\x00b"); !errors.Is(err, cometd.ErrInvalidArgument) {
		t.Fatal(err)
	}
}

func TestChannelMatches(t *testing.T) {
	if !cometd.ChannelMatches("/a/*", "/a/b") || cometd.ChannelMatches("/a/*", "/a/b/c") {
		t.Fatal("/a/*")
	}
}

func TestExport(t *testing.T) {
	eachServer(t, func(t *testing.T, server *server) {
		client := connected(t, server.url, cometd.With("acknowledgement", true))
		if err := client.Subscribe(limited(t), "/a"); err != nil {
			t.Fatal(err)
		}
		id := client.SessionID()
		text, err := client.Export(limited(t))
		if err != nil {
			t.Fatal(err)
		}
		server.do(t, "/publish?channel=/a")
		next := connected(t, server.url, cometd.With("acknowledgement", true), cometd.With("resume", text))
		await(t, next, isMessage)
		if next.SessionID() != id {
			t.Fatal("another session")
		}
		if _, err := client.Export(limited(t)); err != nil {
			t.Fatal(err)
		}
		client.Close()
		if _, err := client.Export(limited(t)); !errors.Is(err, cometd.ErrClosed) {
			t.Fatal(err)
		}
	})
}

func TestBinary(t *testing.T) {
	eachServer(t, func(t *testing.T, server *server) {
		client := connected(t, server.url)
		if err := client.Subscribe(limited(t), "/a"); err != nil {
			t.Fatal(err)
		}
		for _, sent := range []cometd.Binary{
			{Bytes: []byte{0, 255, 3}, Partial: true, Meta: json.RawMessage(`{"name":"x"}`)}, {Bytes: []byte{}},
		} {
			if err := client.PublishBinary(limited(t), "/a", sent); err != nil {
				t.Fatal(err)
			}
			got := await(t, client, isMessage).Binary
			if got == nil || !bytes.Equal(got.Bytes, sent.Bytes) || got.Partial != sent.Partial || string(got.Meta) != string(sent.Meta) {
				t.Fatalf("%+v", got)
			}
		}
	})
}

func TestServerTime(t *testing.T) {
	server := startDemo(t)
	client := connected(t, server.url, cometd.With("timesync", true))
	now, ok := client.ServerTime()
	if !ok || time.Since(now).Abs() > limit {
		t.Fatal(now, ok)
	}
	if _, ok := connected(t, server.url).ServerTime(); ok {
		t.Fatal("without timesync")
	}
}

// What keeps functions of the program's does not keep the client.
func TestClientsWithFunctionsThatNobodyClosed(t *testing.T) {
	server := startDemo(t)
	http.DefaultClient.CloseIdleConnections()
	eventually(t, "earlier clients are gone", func() bool { return libraryThreads() == 0 })
	for range 5 {
		client, err := cometd.New(server.url, cometd.With("replay", "new"),
			cometd.WithReplayStore(&memoryStore{positions: map[string]int64{}}),
			cometd.WithHandshake(func(context.Context, cometd.Handshake) (any, error) { return nil, nil }),
			cometd.WithHeaders(func(context.Context, cometd.Request) (http.Header, error) { return nil, nil }),
			cometd.WithExtension(cometd.Extension{Incoming: func(message map[string]any) (map[string]any, error) { return message, nil }}))
		if err != nil {
			t.Fatal(err)
		}
		if err := client.Connect(limited(t)); err != nil {
			t.Fatal(err)
		}
		client.Stream("/a")
	}
	eventually(t, "threads and goroutines are gone", func() bool {
		runtime.GC()
		return libraryThreads() == 0 && !strings.Contains(stacks(), "(*session).run(")
	})
}
