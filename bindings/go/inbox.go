package cometd

// #include <stdlib.h>
// #include "glue.h"
import "C"

import (
	"context"
	"iter"
	"runtime"
	"slices"
	"unsafe"
)

// maxOther is how many events that are no messages are kept for a program that reads none: the newest.
const maxOther = 1000

// inbox has what was read from the library, and not yet by the program. The session's mutex guards it.
type inbox struct {
	session *session
	pattern string        // of a stream's
	ready   chan struct{} // there are events
	queue   []Event
	other   int           // of them that are no messages
	closed  chan struct{} // of a stream's: nobody reads it any more
}

func (b *inbox) isClosed() bool {
	select {
	case <-b.closed:
		return true
	default:
		return false
	}
}

// Stream is the messages of one channel or pattern. It is made by Client.Stream.
type Stream struct {
	client *Client // is not collected meanwhile; the session, which would keep it for ever, has the inbox only
	inbox  *inbox
}

// Stream has the messages of a channel, or of a pattern such as "/a/**", go to a stream of their own from now on, and not to
// Events any more. It subscribes to nothing. A message that several streams want goes to each. While nobody reads one of
// them, the client reads no more, as with Events.
func (c *Client) Stream(pattern string) *Stream {
	s := c.session
	own := &inbox{session: s, pattern: pattern, ready: make(chan struct{}, 1), closed: make(chan struct{})}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.streams = append(s.streams, own)
	clear(s.matching)
	return &Stream{c, own}
}

// Messages gives the messages, as Client.Events does.
func (s *Stream) Messages(ctx context.Context) iter.Seq[Event] { return s.inbox.events(ctx, s.client) }

// Close ends the stream, and the loops over it; what it would get goes to Events again. What was not read is gone. It returns nil.
func (s *Stream) Close() error {
	defer runtime.KeepAlive(s)
	session := s.client.session
	session.mu.Lock()
	session.streams = slices.DeleteFunc(session.streams, func(other *inbox) bool { return other == s.inbox })
	clear(session.matching)
	unread := s.inbox.queue
	s.inbox.queue = nil
	session.messages -= len(unread)
	if !s.inbox.isClosed() {
		close(s.inbox.closed)
	}
	session.mu.Unlock()
	for _, event := range unread {
		session.replay.skip(event.position)
	}
	signal(session.kick)
	return nil
}

// ChannelMatches is whether a subscription to pattern, "/a/*", gets the messages of channel.
func ChannelMatches(pattern, channel string) bool {
	p, c := C.CString(pattern), C.CString(channel)
	defer C.free(unsafe.Pointer(p))
	defer C.free(unsafe.Pointer(c))
	return bool(C.cometd_channel_matches(p, c))
}

// deliver is called with the mutex held; about so many come at once.
func (s *session) deliver(event Event, count int) {
	if event.Type != EventMessage || len(s.streams) == 0 {
		s.replay.handOut(&event, 1)
		s.own.put(event, count)
		return
	}
	streams, known := s.matching[event.Channel]
	if !known {
		for _, stream := range s.streams {
			if ChannelMatches(stream.pattern, event.Channel) {
				streams = append(streams, stream)
			}
		}
		if len(s.matching) >= maxOther { // channels are the server's
			clear(s.matching)
		}
		s.matching[event.Channel] = streams
	}
	s.replay.handOut(&event, max(1, len(streams)))
	if len(streams) == 0 {
		s.own.put(event, count)
	}
	for _, stream := range streams {
		stream.put(event, count)
	}
}

// tell puts an event of the binding's own among the others.
func (s *session) tell(err *Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.own.put(Event{Type: EventError, Channel: err.Channel, Err: err}, 1)
}

func (b *inbox) put(event Event, count int) {
	if b.queue == nil {
		b.queue = make([]Event, 0, count)
	}
	if event.Type == EventMessage {
		b.session.messages++
	} else if b.other++; b.other > maxOther {
		oldest := slices.IndexFunc(b.queue, func(it Event) bool { return it.Type != EventMessage })
		b.queue = slices.Delete(b.queue, oldest, oldest+1)
		b.other--
	}
	b.queue = append(b.queue, event)
	signal(b.ready)
}

// take gives all that is queued, after it has come.
func (b *inbox) take(ctx context.Context) []Event {
	s := b.session
	for {
		s.mu.Lock()
		events := b.queue
		b.queue = nil
		s.messages -= len(events) - b.other
		b.other = 0
		full := s.full
		s.mu.Unlock()
		if full {
			signal(s.kick)
		}
		if len(events) > 0 {
			return events
		}
		select {
		case <-b.ready:
		case <-ctx.Done():
			return nil
		case <-b.closed:
			return nil
		case <-s.closed:
			s.mu.Lock()
			last := len(b.queue) == 0
			s.mu.Unlock()
			if last {
				return nil
			}
		}
	}
}

// giveBack has the next reader begin with these.
func (b *inbox) giveBack(events []Event) {
	if len(events) == 0 {
		return
	}
	s := b.session
	s.mu.Lock()
	defer s.mu.Unlock()
	if b.isClosed() {
		for i := range events {
			s.replay.skip(events[i].position)
		}
		return
	}
	for i := range events {
		if events[i].Type == EventMessage {
			s.messages++
		} else {
			b.other++
		}
	}
	b.queue = append(events, b.queue...)
	signal(b.ready)
}

func (b *inbox) events(ctx context.Context, client *Client) iter.Seq[Event] {
	return func(yield func(Event) bool) {
		defer runtime.KeepAlive(client)
		for {
			events := b.take(ctx)
			if len(events) == 0 || !b.yield(ctx, events, yield) {
				return
			}
		}
	}
}

func (b *inbox) yield(ctx context.Context, events []Event, yield func(Event) bool) bool {
	read, done := 0, 0
	defer func() { // also when the loop's body panics
		if done < read {
			b.session.replay.skip(events[done].position)
		}
		b.giveBack(events[read:])
	}()
	for read < len(events) {
		if ctx.Err() != nil {
			return false
		}
		read++
		more := yield(events[read-1])
		done = read
		if position := events[read-1].position; position != nil {
			b.session.replay.finish(position, b.session)
		}
		if !more {
			return false
		}
	}
	return true
}
