package cometd

// #include <stdlib.h>
// #include "glue.h"
import "C"

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/cgo"
	"strconv"
	"strings"
	"sync"
	"unsafe"
)

// Replay positions that are no id of an event.
const (
	ReplayNew int64 = C.COMETD_REPLAY_NEW // new events only
	ReplayAll int64 = C.COMETD_REPLAY_ALL // all events that the server still has
)

// ReplayStore keeps replay positions where they outlive the process. Its methods may be called by several goroutines.
type ReplayStore interface {
	// Load gives what was saved for a channel; ok is false when there is nothing. Subscribe calls it, and fails with its
	// error.
	Load(channel string) (position int64, ok bool, err error)
	// Save stores the id of the last event that need not come again, in place of the one before.
	Save(channel string, position int64) error
}

// WithReplayStore has subscriptions go on where the process before has stopped (Salesforce's replay extension). The option
// "replay" turns that on and says where a channel starts of which nothing is saved: With("replay", "new").
//
// A position is saved when the body of a loop over Events or Messages is done with its event, on that goroutine, and not
// while one that came before it on the channel is still being handled. When Save fails, an EventError tells, and the next
// event saves again.
func WithReplayStore(store ReplayStore) Option {
	return func(b *builder) error {
		b.session.replay = &positions{store: store, pending: map[string][]*position{}, failed: map[string]error{}}
		user := cgo.NewHandle(b.session.replay)
		return installed(user, C.glue_set_replay_load(b.handle, C.uintptr_t(user)))
	}
}

// SetReplayPosition sets where the next Subscribe to a channel starts: after an event, or ReplayNew, or ReplayAll.
func (c *Client) SetReplayPosition(channel string, position int64) error {
	defer runtime.KeepAlive(c)
	if err := whole(channel); err != nil {
		return err
	}
	name := C.CString(channel)
	defer C.free(unsafe.Pointer(name))
	return c.session.use(func(client *C.cometd_client, err **C.cometd_error) C.cometd_status {
		return C.cometd_client_set_replay_position(client, name, C.int64_t(position), err)
	})
}

// ReplayID is the id by which the replay extension names a message, if it has one. The data is parsed with each call.
func (e Event) ReplayID() (id int64, ok bool) {
	var data struct {
		Event struct {
			ReplayID json.RawMessage `json:"replayId"`
		} `json:"event"`
	}
	if json.Unmarshal(e.Data, &data) != nil {
		return 0, false
	}
	id, err := strconv.ParseInt(strings.Trim(string(data.Event.ReplayID), `"`), 10, 64)
	return id, err == nil && id >= 0
}

// positions is how far the program is done. All methods but load do nothing for nil.
type positions struct {
	store ReplayStore

	saving  sync.Mutex // taken first: a newer position is never overwritten
	mu      sync.Mutex
	pending map[string][]*position // of each channel, as they came
	failed  map[string]error       // of Load, until Subscribe takes it
}

type position struct {
	channel string
	id      int64
	left    int  // readers that are not done with it
	skipped bool // by some reader
}

func (p *positions) handOut(event *Event, readers int) {
	if p == nil || event.Type != EventMessage {
		return
	}
	id, ok := event.ReplayID()
	if !ok {
		return
	}
	event.position = &position{channel: event.Channel, id: id, left: readers}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pending[event.Channel] = append(p.pending[event.Channel], event.position)
}

// finish saves the newest position before which all are done.
func (p *positions) finish(done *position, s *session) {
	p.saving.Lock()
	defer p.saving.Unlock()
	newest := p.pass(done, false)
	if newest == nil {
		return
	}
	if err := guarded(func() error { return p.store.Save(newest.channel, newest.id) }); err != nil {
		s.tell(programFailed("a replay position was not saved", newest.channel, err))
	}
}

// skip is for what nobody is done with: it holds up no other one, and is not saved.
func (p *positions) skip(position *position) {
	if p != nil && position != nil {
		p.pass(position, true)
	}
}

func (p *positions) pass(done *position, skipped bool) (newest *position) {
	p.mu.Lock()
	defer p.mu.Unlock()
	done.left--
	done.skipped = done.skipped || skipped
	pending := p.pending[done.channel]
	for len(pending) > 0 && pending[0].left == 0 {
		if !pending[0].skipped {
			newest = pending[0]
		}
		pending = pending[1:]
	}
	if len(pending) == 0 {
		delete(p.pending, done.channel)
	} else {
		p.pending[done.channel] = pending
	}
	return newest
}

func (p *positions) load(channel string, to *C.int64_t) C.cometd_status {
	found := false
	err := guarded(func() error {
		position, ok, err := p.store.Load(channel)
		*to, found = C.int64_t(position), ok
		return err
	})
	if err != nil {
		p.mu.Lock()
		p.failed[channel] = err
		p.mu.Unlock()
		return C.COMETD_E_SYSTEM
	}
	if !found {
		return C.COMETD_NONE
	}
	return C.COMETD_OK
}

// explain gives why Subscribe has failed, when Load is the reason.
func (p *positions) explain(channels []string, failure error) error {
	if p == nil || failure == nil {
		return failure
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, channel := range channels {
		channel, _, _ = strings.Cut(channel, "?")
		if err := p.failed[channel]; err != nil {
			delete(p.failed, channel)
			return fmt.Errorf("cometd: the replay position of %s was not loaded: %w", channel, err)
		}
	}
	return failure
}
