package cometd

// #include <stdlib.h>
// #include "glue.h"
import "C"

import (
	"context"
	"encoding/json"
	"errors"
	"runtime/cgo"
	"sync"
	"unsafe"
)

// session is what a Client has and its goroutine needs: it does not know the Client, so that one which nobody closes
// is collected.
type session struct {
	kick   chan struct{} // there may be something to poll, or room for it
	closed chan struct{} // no event comes any more

	life   sync.Mutex
	handle *C.cometd_client
	uses   int  // calls of C that use the handle: once it is gone, the last one frees it
	gone   bool // Close was called, or nothing was built

	ctx    context.Context // of providers
	cancel context.CancelFunc
	replay *positions // nil without a store

	mu        sync.Mutex
	own       inbox
	streams   []*inbox
	matching  map[string][]*inbox // by channel, of those that were seen
	messages  int                 // in all inboxes
	freed     bool
	full      bool // the goroutine waits for readers
	waiting   int  // those who wait for an outcome: meanwhile events are read on, so that it comes
	last      uintptr
	calls     map[uintptr]*call
	connected chan struct{}
	state     State
	failure   *Error // the last one of the client itself since it was connected
}

// call is a subscribe, unsubscribe, publish or remote call whose events are awaited.
type call struct {
	done   chan struct{}
	left   int
	errs   []error
	result json.RawMessage
}

func newSession() *session {
	s := &session{
		kick: make(chan struct{}, 1), closed: make(chan struct{}),
		calls: map[uintptr]*call{}, connected: make(chan struct{}), matching: map[string][]*inbox{},
	}
	s.own = inbox{session: s, ready: make(chan struct{}, 1)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// start has events read.
func (s *session) start(handle *C.cometd_client) error {
	s.handle = handle
	user := cgo.NewHandle(s)
	if status := C.glue_set_wake(handle, C.uintptr_t(user)); status < 0 {
		user.Delete()
		return newError(Status(status))
	}
	go s.run()
	return nil
}

// acquire is followed by release, unless it gives nil.
func (s *session) acquire() *C.cometd_client {
	s.life.Lock()
	defer s.life.Unlock()
	if s.gone {
		return nil
	}
	s.uses++
	return s.handle
}

func (s *session) release() {
	s.life.Lock()
	s.uses--
	last := s.gone && s.uses == 0
	s.life.Unlock()
	if last {
		C.cometd_client_free(s.handle)
	}
}

// use calls C with the handle, unless that is gone.
func (s *session) use(do func(client *C.cometd_client, err **C.cometd_error) C.cometd_status) error {
	_, err := s.status(do)
	return err
}

// status gives what C has returned when that is no error.
func (s *session) status(do func(client *C.cometd_client, err **C.cometd_error) C.cometd_status) (C.cometd_status, error) {
	client := s.acquire()
	if client == nil {
		return C.COMETD_E_CLOSED, newError(ErrClosed)
	}
	defer s.release()
	var failed *C.cometd_error
	status := do(client, &failed)
	return status, takeError(status, failed)
}

// free is called by whoever is first: Close, the garbage collector.
func (s *session) free() {
	s.life.Lock()
	first := !s.gone
	s.gone = true
	last := first && s.uses == 0
	s.life.Unlock()
	if !first {
		return
	}
	s.cancel()
	s.mu.Lock()
	s.freed = true // the goroutine need not wait for readers to end
	s.mu.Unlock()
	if last {
		C.cometd_client_free(s.handle)
	}
	signal(s.kick)
}

// run takes events from the library when it says that there are some, 64 in a call. It holds no thread while there are
// none. No more than one batch waits for readers; behind that the library's own bounds are in force.
func (s *session) run() {
	batch := (*C.glue_batch)(C.calloc(1, C.sizeof_glue_batch))
	defer C.free(unsafe.Pointer(batch))
	defer close(s.closed)
	var channel string
	for {
		if s.hasRoom() {
			switch count, alive := s.poll(batch, &channel); {
			case !alive:
				return
			case count > 0: // only a poll that finds none is sure to be followed by a wake
				continue
			}
		}
		<-s.kick
	}
}

func (s *session) hasRoom() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.full = s.messages > 0 && s.waiting == 0 && !s.freed
	return !s.full
}

func (s *session) poll(batch *C.glue_batch, channel *string) (count C.size_t, alive bool) {
	client := s.acquire()
	if client == nil {
		return 0, false
	}
	defer s.release()
	count = C.glue_poll(client, batch)
	if count == 0 {
		return 0, true
	}
	alive = true
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range int(count) {
		view := &batch.views[i]
		event := copyEvent(view, &batch.binaries[i], channel)
		// As an integer, which it is: never as a pointer of Go's.
		opaque := *(*uintptr)(unsafe.Pointer(&view.opaque))
		if event.Type == EventClosed {
			alive = false
		}
		s.note(&event, view.id)
		if !s.settle(opaque, &event) && event.Type != eventResult && event.Type != eventPublished {
			s.deliver(event, int(count))
		}
	}
	C.glue_free_events(batch, count)
	return count, alive
}

// note keeps what Connect and Err tell.
func (s *session) note(event *Event, id C.uint64_t) {
	switch {
	case event.Type == EventState:
		s.state = event.State
		if event.State == StateConnected {
			s.failure = nil
			select {
			case <-s.connected:
			default:
				close(s.connected)
			}
		}
	case event.Err != nil && id == 0 && event.Channel == "":
		s.failure = event.Err
	}
}

// settle gives an event to the call that waits for it.
func (s *session) settle(opaque uintptr, event *Event) bool {
	call := s.calls[opaque]
	if call == nil {
		return false
	}
	if event.Err != nil {
		call.errs = append(call.errs, event.Err)
	}
	if event.Type == eventResult {
		call.result = event.Data
	}
	if call.left--; call.left == 0 {
		delete(s.calls, opaque)
		close(call.done)
	}
	return true
}

// wait has events read on until done, the client's end, or the context's.
func (s *session) wait(ctx context.Context, done <-chan struct{}) error {
	s.mu.Lock()
	s.waiting++
	s.mu.Unlock()
	signal(s.kick)
	defer func() {
		s.mu.Lock()
		s.waiting--
		s.mu.Unlock()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-s.closed:
		select {
		case <-done:
			return nil
		default:
			return newError(ErrClosed)
		}
	}
}

// call makes a call with `events` events to come and waits for them.
func (s *session) call(ctx context.Context, events int, start startCall) (json.RawMessage, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	call, err := s.begin(events, start)
	if err != nil {
		return nil, err
	}
	return s.outcome(ctx, call)
}

type startCall func(client *C.cometd_client, opaque C.uintptr_t, err **C.cometd_error) C.cometd_status

func (s *session) begin(events int, start startCall) (*call, error) {
	call := &call{done: make(chan struct{}), left: events}
	s.mu.Lock()
	s.last++
	opaque := s.last
	s.calls[opaque] = call
	s.mu.Unlock()
	err := s.use(func(client *C.cometd_client, err **C.cometd_error) C.cometd_status {
		return start(client, C.uintptr_t(opaque), err)
	})
	if err != nil {
		s.mu.Lock()
		delete(s.calls, opaque)
		s.mu.Unlock()
		return nil, err
	}
	return call, nil
}

func (s *session) outcome(ctx context.Context, call *call) (json.RawMessage, error) {
	if err := s.wait(ctx, call.done); err != nil {
		return nil, err
	}
	if len(call.errs) == 1 {
		return call.result, call.errs[0]
	}
	return call.result, errors.Join(call.errs...)
}
