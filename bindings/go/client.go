// Package cometd is a CometD (Bayeux 1.0) client: libcometd for Go.
//
// SPDX-License-Identifier: MIT OR Apache-2.0
package cometd

// #cgo pkg-config: cometd
// #cgo noescape glue_poll
// #cgo nocallback glue_poll
// #cgo noescape glue_free_events
// #cgo nocallback glue_free_events
// #include <stdlib.h>
// #include "glue.h"
import "C"

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"math"
	"runtime"
	"time"
	"unsafe"
)

// Client is a session with a server. All methods may be called from any goroutine.
//
// One that is neither closed nor reachable any more is closed by the garbage collector.
type Client struct {
	session *session
}

// New makes a client of the server at url. Nothing is sent before Connect.
func New(url string, options ...Option) (*Client, error) {
	ctx, cancel := context.WithCancel(context.Background())
	built, err := build(ctx, cancel, url, options)
	if err != nil {
		cancel()
		return nil, err
	}
	client := &Client{built}
	runtime.AddCleanup(client, (*session).free, built)
	return client, nil
}

func build(ctx context.Context, cancel context.CancelFunc, url string, options []Option) (*session, error) {
	text := C.CString(url)
	defer C.free(unsafe.Pointer(text))
	var handle *C.cometd_client_builder
	var failed *C.cometd_error
	if err := takeError(C.cometd_client_builder_new(text, &handle, &failed), failed); err != nil {
		return nil, err
	}
	defer C.cometd_client_builder_free(handle)
	for _, option := range options {
		if err := option(&builder{handle, ctx}); err != nil {
			return nil, err
		}
	}
	var client *C.cometd_client
	failed = nil
	if err := takeError(C.cometd_client_builder_build(handle, &client, &failed), failed); err != nil {
		return nil, err
	}
	session, err := newSession(client, cancel)
	if err != nil {
		C.cometd_client_free(client)
	}
	return session, err
}

// Connect begins the session and waits until events arrive. It is called once; the client goes on when ctx ends.
func (c *Client) Connect(ctx context.Context) error {
	defer runtime.KeepAlive(c)
	err := c.session.use(func(client *C.cometd_client, err **C.cometd_error) C.cometd_status {
		return C.cometd_client_connect(client, err)
	})
	if err != nil {
		return err
	}
	err = c.session.wait(ctx, c.session.connected)
	failure := c.Err()
	switch {
	case err == nil || failure == nil:
		return err
	case ctx.Err() != nil:
		return fmt.Errorf("%w: %w", err, failure)
	}
	return failure
}

// Err is why the client is not connected, or has ended; nil when nothing has failed since it was connected.
func (c *Client) Err() error {
	c.session.mu.Lock()
	defer c.session.mu.Unlock()
	if c.session.failure == nil {
		return nil
	}
	return c.session.failure
}

// State is where the client stands, as far as its events were read from the library.
func (c *Client) State() State {
	c.session.mu.Lock()
	defer c.session.mu.Unlock()
	return c.session.state
}

// Events gives what happens, until the client has closed or ctx ends. A loop that was left can be followed by another
// one; of several at a time each event goes to one. While nobody reads, the option "overflow" says what becomes of
// messages.
func (c *Client) Events(ctx context.Context) iter.Seq[Event] {
	return func(yield func(Event) bool) {
		defer runtime.KeepAlive(c)
		for {
			events := c.session.take(ctx)
			if len(events) == 0 {
				return
			}
			if !c.yield(ctx, events, yield) {
				return
			}
		}
	}
}

func (c *Client) yield(ctx context.Context, events []Event, yield func(Event) bool) bool {
	read := 0
	defer func() { c.session.giveBack(events[read:]) }() // also when the loop's body panics
	for read < len(events) {
		if ctx.Err() != nil {
			return false
		}
		read++
		if !yield(events[read-1]) {
			return false
		}
	}
	return true
}

// Subscribe asks for the messages of channels, and waits for the server's answers. A subscription lives until
// Unsubscribe: in a new session the library makes it again, and says so by an EventSubscribed.
func (c *Client) Subscribe(ctx context.Context, channels ...string) error {
	return c.subscription(ctx, channels, func(client *C.cometd_client, names **C.char, count C.size_t, opaque C.uintptr_t,
		err **C.cometd_error,
	) C.cometd_status {
		return C.glue_subscribe(client, names, count, opaque, err)
	})
}

// Unsubscribe ends subscriptions, and waits for the server's answers.
func (c *Client) Unsubscribe(ctx context.Context, channels ...string) error {
	return c.subscription(ctx, channels, func(client *C.cometd_client, names **C.char, count C.size_t, opaque C.uintptr_t,
		err **C.cometd_error,
	) C.cometd_status {
		return C.glue_unsubscribe(client, names, count, opaque, err)
	})
}

func (c *Client) subscription(ctx context.Context, channels []string,
	call func(*C.cometd_client, **C.char, C.size_t, C.uintptr_t, **C.cometd_error) C.cometd_status,
) error {
	defer runtime.KeepAlive(c)
	names := make([]*C.char, len(channels), len(channels)+1) // never without a first one
	for i, channel := range channels {
		names[i] = C.CString(channel)
		defer C.free(unsafe.Pointer(names[i]))
	}
	_, err := c.session.call(ctx, len(channels), func(client *C.cometd_client, opaque C.uintptr_t,
		err **C.cometd_error,
	) C.cometd_status {
		return call(client, unsafe.SliceData(names), C.size_t(len(names)), opaque, err)
	})
	return err
}

// Publish sends data to a channel, and waits until the server has accepted it. data is what json.Marshal makes of it.
func (c *Client) Publish(ctx context.Context, channel string, data any) error {
	_, err := c.send(ctx, channel, data, func(client *C.cometd_client, name, text *C.char, length C.size_t,
		opaque C.uintptr_t, err **C.cometd_error,
	) C.cometd_status {
		return C.glue_publish(client, name, text, length, opaque, err)
	})
	return err
}

// Call sends data to a service, and waits for its answer (CometD's remote call). When the service says that it has
// failed, there are an answer and an error. The time limit is that of ctx.
func (c *Client) Call(ctx context.Context, channel string, data any) (json.RawMessage, error) {
	limit := C.int32_t(math.MaxInt32)
	if deadline, ok := ctx.Deadline(); ok {
		limit = C.int32_t(min(max(time.Until(deadline).Milliseconds(), 1), math.MaxInt32))
	}
	return c.send(ctx, channel, data, func(client *C.cometd_client, name, text *C.char, length C.size_t,
		opaque C.uintptr_t, err **C.cometd_error,
	) C.cometd_status {
		return C.glue_remote_call(client, name, text, length, limit, opaque, err)
	})
}

func (c *Client) send(ctx context.Context, channel string, data any,
	call func(*C.cometd_client, *C.char, *C.char, C.size_t, C.uintptr_t, **C.cometd_error) C.cometd_status,
) (json.RawMessage, error) {
	defer runtime.KeepAlive(c)
	text, err := json.Marshal(data)
	if err != nil {
		return nil, err
	}
	name := C.CString(channel)
	defer C.free(unsafe.Pointer(name))
	return c.session.call(ctx, 1, func(client *C.cometd_client, opaque C.uintptr_t, err **C.cometd_error) C.cometd_status {
		return call(client, name, (*C.char)(unsafe.Pointer(unsafe.SliceData(text))), C.size_t(len(text)), opaque, err)
	})
}

// SetAuthorization changes the Authorization header, "Bearer abc", from the next request on.
func (c *Client) SetAuthorization(value string) error {
	defer runtime.KeepAlive(c)
	text := C.CString(value)
	defer C.free(unsafe.Pointer(text))
	return c.session.use(func(client *C.cometd_client, _ **C.cometd_error) C.cometd_status {
		return C.cometd_client_set_authorization(client, text)
	})
}

// Disconnect sends what was accepted, ends the session, and waits for the server's answer, up to ten seconds. When ctx
// ends before, the client is closed.
func (c *Client) Disconnect(ctx context.Context) error {
	defer runtime.KeepAlive(c)
	err := c.session.use(func(client *C.cometd_client, err **C.cometd_error) C.cometd_status {
		return C.cometd_client_disconnect(client, 0, err)
	})
	if err != nil {
		return err
	}
	if err := c.session.wait(ctx, c.session.closed); err != nil {
		c.Close()
		return err
	}
	if failure, ok := c.Err().(*Error); ok && failure.Phase == PhaseDisconnect {
		return failure
	}
	return nil
}

// Close frees the client at once, without a word to the server; Disconnect tells it. Events that were not read are
// gone, but for those that Events has begun to give. It returns nil.
func (c *Client) Close() error {
	defer runtime.KeepAlive(c)
	c.session.free()
	return nil
}
