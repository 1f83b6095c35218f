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
	"fmt"
	"iter"
	"runtime"
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
	built := newSession()
	if err := built.build(url, options); err != nil {
		built.cancel()
		return nil, err
	}
	client := &Client{built}
	runtime.AddCleanup(client, (*session).free, built)
	return client, nil
}

func (s *session) build(url string, options []Option) error {
	if err := whole(url); err != nil {
		return err
	}
	text := C.CString(url)
	defer C.free(unsafe.Pointer(text))
	var handle *C.cometd_client_builder
	var failed *C.cometd_error
	if err := takeError(C.cometd_client_builder_new(text, &handle, &failed), failed); err != nil {
		return err
	}
	defer C.cometd_client_builder_free(handle)
	for _, option := range options {
		if err := option(&builder{handle, s}); err != nil {
			return err
		}
	}
	var client *C.cometd_client
	failed = nil
	if err := takeError(C.cometd_client_builder_build(handle, &client, &failed), failed); err != nil {
		return err
	}
	err := s.start(client)
	if err != nil {
		C.cometd_client_free(client)
	}
	return err
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
// messages; of other events the newest 1000 are kept.
func (c *Client) Events(ctx context.Context) iter.Seq[Event] { return c.session.own.events(ctx, c) }

// SetAuthorization changes the Authorization header, "Bearer abc", from the next request on.
func (c *Client) SetAuthorization(value string) error {
	defer runtime.KeepAlive(c)
	if err := whole(value); err != nil {
		return err
	}
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
