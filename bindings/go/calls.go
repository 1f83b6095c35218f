package cometd

// #include <stdlib.h>
// #include "glue.h"
import "C"

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"runtime"
	"time"
	"unsafe"
)

// Subscribe asks for the messages of channels, and waits for the server's answers. A subscription lives until
// Unsubscribe: in a new session the library makes it again, and says so by an EventSubscribed.
func (c *Client) Subscribe(ctx context.Context, channels ...string) error {
	return c.finish(ctx, func() (*call, error) { return c.session.subscribe(channels) })
}

// Unsubscribe ends subscriptions, and waits for the server's answers.
func (c *Client) Unsubscribe(ctx context.Context, channels ...string) error {
	return c.finish(ctx, func() (*call, error) { return c.session.unsubscribe(channels) })
}

// Publish sends data to a channel, and waits until the server has accepted it. data is what json.Marshal makes of it. It
// is sent once: after a failure of the network, the server may have seen it or not.
func (c *Client) Publish(ctx context.Context, channel string, data any) error {
	return c.finish(ctx, func() (*call, error) { return c.session.publish(channel, data) })
}

// PublishWithRetries is Publish, but sends again until the server has answered, at most `attempts` times, 0 for any number:
// the server may get it twice. The time limit is that of ctx.
func (c *Client) PublishWithRetries(ctx context.Context, channel string, data any, attempts uint32) error {
	limit := milliseconds(ctx, -1)
	if attempts == 0 {
		attempts = C.COMETD_RETRY_FOREVER
	}
	return c.finish(ctx, func() (*call, error) {
		return c.session.send(channel, data, func(client *C.cometd_client, name, text *C.char, length C.size_t,
			opaque C.uintptr_t, err **C.cometd_error,
		) C.cometd_status {
			return C.glue_publish_with_retries(client, name, text, length, limit, C.uint32_t(attempts), opaque, err)
		})
	})
}

// PublishBinary is Publish of bytes, by CometD's binary extension, which the server needs as well.
func (c *Client) PublishBinary(ctx context.Context, channel string, data Binary) error {
	return c.finish(ctx, func() (*call, error) {
		if err := whole(channel); err != nil {
			return nil, err
		}
		name := C.CString(channel)
		defer C.free(unsafe.Pointer(name))
		return c.session.begin(1, func(client *C.cometd_client, opaque C.uintptr_t, err **C.cometd_error) C.cometd_status {
			return C.glue_publish_binary(client, name, unsafe.Pointer(unsafe.SliceData(data.Bytes)), C.size_t(len(data.Bytes)),
				C.bool(!data.Partial), (*C.char)(unsafe.Pointer(unsafe.SliceData(data.Meta))), C.size_t(len(data.Meta)),
				opaque, err)
		})
	})
}

// Call sends data to a service, and waits for its answer (CometD's remote call). When the service says that it has
// failed, there are an answer and an error. The time limit is that of ctx.
func (c *Client) Call(ctx context.Context, channel string, data any) (json.RawMessage, error) {
	defer runtime.KeepAlive(c)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	call, err := c.session.remoteCall(channel, data, milliseconds(ctx, math.MaxInt32))
	if err != nil {
		return nil, err
	}
	return c.session.outcome(ctx, call)
}

func (c *Client) finish(ctx context.Context, begin func() (*call, error)) error {
	defer runtime.KeepAlive(c)
	if err := ctx.Err(); err != nil {
		return err
	}
	call, err := begin()
	if err != nil {
		return err
	}
	_, err = c.session.outcome(ctx, call)
	return err
}

// Batch is what is sent in one request.
type Batch struct {
	session *session
	calls   []*call
	errs    []error
}

// Batch has all that do calls sent in one request when it has returned, and waits for the outcomes. What other goroutines
// call meanwhile goes along. do calls the methods of the Batch, which do not wait: one of the Client that waits would wait
// for the end of its own batch. The error joins those of all calls, and that of do; what was called is sent all the same.
func (c *Client) Batch(ctx context.Context, do func(batch *Batch) error) error {
	defer runtime.KeepAlive(c)
	if err := ctx.Err(); err != nil {
		return err
	}
	err := c.session.use(func(client *C.cometd_client, err **C.cometd_error) C.cometd_status {
		return C.cometd_client_batch_begin(client, err)
	})
	if err != nil {
		return err
	}
	batch := &Batch{session: c.session}
	batch.fill(do)
	for _, call := range batch.calls {
		_, err := c.session.outcome(ctx, call)
		batch.add(err)
	}
	if len(batch.errs) == 1 {
		return batch.errs[0]
	}
	return errors.Join(batch.errs...)
}

func (b *Batch) fill(do func(batch *Batch) error) {
	defer func() { // also when it panics
		b.add(b.session.use(func(client *C.cometd_client, err **C.cometd_error) C.cometd_status {
			return C.cometd_client_batch_end(client, err)
		}))
	}()
	b.add(do(b))
}

func (b *Batch) add(err error) {
	if err != nil {
		b.errs = append(b.errs, err)
	}
}

func (b *Batch) begun(call *call, err error) {
	b.add(err)
	if err == nil {
		b.calls = append(b.calls, call)
	}
}

// Subscribe is that of Client. It is called by one goroutine at a time, as all methods of a Batch.
func (b *Batch) Subscribe(channels ...string) { b.begun(b.session.subscribe(channels)) }

// Unsubscribe is that of Client.
func (b *Batch) Unsubscribe(channels ...string) { b.begun(b.session.unsubscribe(channels)) }

// Publish is that of Client.
func (b *Batch) Publish(channel string, data any) { b.begun(b.session.publish(channel, data)) }

// Flush waits until all that was called before has its outcome, also calls whose context has ended. It returns
// ErrUndelivered when a publish has failed and no Flush has told so. A batch that is open is sent.
func (c *Client) Flush(ctx context.Context) error {
	defer runtime.KeepAlive(c)
	s := c.session
	s.mu.Lock()
	calls := make([]*call, 0, len(s.calls))
	for _, call := range s.calls {
		calls = append(calls, call)
	}
	s.mu.Unlock()
	ask := func(limit C.int32_t) (C.cometd_status, error) {
		return s.status(func(client *C.cometd_client, err **C.cometd_error) C.cometd_status {
			return C.cometd_client_flush(client, limit, err)
		})
	}
	// Whoever waits for room, or for outcomes that are not read yet, is no failure.
	if status, err := ask(0); status != C.COMETD_NONE && status != C.COMETD_E_FULL {
		return err
	}
	for _, call := range calls {
		if err := s.wait(ctx, call.done); err != nil {
			return err
		}
	}
	status, err := ask(100) // the library counts an outcome when its event can be read already
	if status == C.COMETD_E_FULL {
		return nil
	}
	return err
}

func (s *session) subscribe(channels []string) (*call, error) {
	call, err := s.subscription(channels, func(client *C.cometd_client, names **C.char, count C.size_t, opaque C.uintptr_t,
		err **C.cometd_error,
	) C.cometd_status {
		return C.glue_subscribe(client, names, count, opaque, err)
	})
	return call, s.replay.explain(channels, err)
}

func (s *session) unsubscribe(channels []string) (*call, error) {
	return s.subscription(channels, func(client *C.cometd_client, names **C.char, count C.size_t, opaque C.uintptr_t,
		err **C.cometd_error,
	) C.cometd_status {
		return C.glue_unsubscribe(client, names, count, opaque, err)
	})
}

func (s *session) subscription(channels []string,
	start func(*C.cometd_client, **C.char, C.size_t, C.uintptr_t, **C.cometd_error) C.cometd_status,
) (*call, error) {
	if err := whole(channels...); err != nil {
		return nil, err
	}
	names := make([]*C.char, len(channels), len(channels)+1) // never without a first one
	for i, channel := range channels {
		names[i] = C.CString(channel)
		defer C.free(unsafe.Pointer(names[i]))
	}
	return s.begin(len(channels), func(client *C.cometd_client, opaque C.uintptr_t, err **C.cometd_error) C.cometd_status {
		return start(client, unsafe.SliceData(names), C.size_t(len(names)), opaque, err)
	})
}

func (s *session) publish(channel string, data any) (*call, error) {
	return s.send(channel, data, func(client *C.cometd_client, name, text *C.char, length C.size_t, opaque C.uintptr_t,
		err **C.cometd_error,
	) C.cometd_status {
		return C.glue_publish(client, name, text, length, opaque, err)
	})
}

func (s *session) remoteCall(channel string, data any, limit C.int32_t) (*call, error) {
	return s.send(channel, data, func(client *C.cometd_client, name, text *C.char, length C.size_t, opaque C.uintptr_t,
		err **C.cometd_error,
	) C.cometd_status {
		return C.glue_remote_call(client, name, text, length, limit, opaque, err)
	})
}

func (s *session) send(channel string, data any,
	start func(*C.cometd_client, *C.char, *C.char, C.size_t, C.uintptr_t, **C.cometd_error) C.cometd_status,
) (*call, error) {
	if err := whole(channel); err != nil {
		return nil, err
	}
	text, err := json.Marshal(data)
	if err != nil {
		return nil, err
	}
	name := C.CString(channel)
	defer C.free(unsafe.Pointer(name))
	return s.begin(1, func(client *C.cometd_client, opaque C.uintptr_t, err **C.cometd_error) C.cometd_status {
		return start(client, name, (*C.char)(unsafe.Pointer(unsafe.SliceData(text))), C.size_t(len(text)), opaque, err)
	})
}

// milliseconds is what is left of a context.
func milliseconds(ctx context.Context, without int32) C.int32_t {
	deadline, ok := ctx.Deadline()
	if !ok {
		return C.int32_t(without)
	}
	return C.int32_t(min(max(time.Until(deadline).Milliseconds(), 1), math.MaxInt32))
}
