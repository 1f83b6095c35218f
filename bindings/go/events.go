package cometd

// #include "glue.h"
import "C"

import (
	"encoding/json"
	"unsafe"
)

// EventType is what kind of event it is. More may come; a program passes over those that it does not know.
type EventType int32

const (
	EventMessage      EventType = C.COMETD_EVENT_MESSAGE      // Channel, Data, Ext and MessageID are set
	EventState        EventType = C.COMETD_EVENT_STATE        // State and Previous are set
	EventSubscribed   EventType = C.COMETD_EVENT_SUBSCRIBED   // the subscription to Channel is back in another session
	EventUnsubscribed EventType = C.COMETD_EVENT_UNSUBSCRIBED // the subscription to Channel has ended
	EventError        EventType = C.COMETD_EVENT_ERROR        // Err is set; the client tries again, unless it is fatal
	EventDropped      EventType = C.COMETD_EVENT_DROPPED      // Dropped messages are missing here; see the option "overflow"
	EventClosed       EventType = C.COMETD_EVENT_CLOSED       // the last event
	EventAdvice       EventType = C.COMETD_EVENT_ADVICE       // Advice is set
	EventRoom         EventType = C.COMETD_EVENT_ROOM         // there is room again after an ErrFull
)

const eventPublished, eventResult EventType = C.COMETD_EVENT_PUBLISHED, C.COMETD_EVENT_RESULT

// State is where a client stands.
type State int32

const (
	StateIdle          State = C.COMETD_STATE_IDLE          // not yet connected
	StateHandshaking   State = C.COMETD_STATE_HANDSHAKING   // the first handshake is under way
	StateConnecting    State = C.COMETD_STATE_CONNECTING    // there is a session; its first connect is under way
	StateConnected     State = C.COMETD_STATE_CONNECTED     // events arrive
	StateUnconnected   State = C.COMETD_STATE_UNCONNECTED   // the last connect failed; it is tried again
	StateRehandshaking State = C.COMETD_STATE_REHANDSHAKING // the session was lost; a new one is asked for
	StateDisconnecting State = C.COMETD_STATE_DISCONNECTING // the end is under way
	StateClosed        State = C.COMETD_STATE_CLOSED        // the end
)

func (s State) String() string { return C.GoString(C.cometd_state_name(C.cometd_state(s))) }

// Event is something that has happened to a client. What it does not have is zero.
type Event struct {
	Type            EventType
	State, Previous State
	// Renewed: the library has subscribed again by itself. Messages may have been missed meanwhile.
	Renewed bool
	Dropped uint64
	Channel string
	// Data is the JSON of a message, as the server sent it; so are Ext and MessageID.
	Data, Ext, MessageID json.RawMessage
	Advice               json.RawMessage
	Err                  *Error
	// Binary is what a message of CometD's binary extension has; nil when it is none.
	Binary *Binary

	position *position
}

// Binary is bytes, by CometD's binary extension.
type Binary struct {
	Bytes []byte
	// Partial: other parts belong behind these bytes.
	Partial bool
	// Meta is a JSON object of what else there is to say of them, or nil.
	Meta json.RawMessage
}

func copyBytes(from *C.char, length C.size_t) json.RawMessage {
	if from == nil {
		return nil
	}
	return append(json.RawMessage(nil), unsafe.Slice((*byte)(unsafe.Pointer(from)), int(length))...)
}

// copyEvent takes all that the program sees; most events have the channel of the one before.
func copyEvent(view *C.cometd_event_view, binary *C.glue_binary, channel *string) Event {
	event := Event{
		Type:      EventType(view._type),
		State:     State(view.state),
		Previous:  State(view.previous),
		Renewed:   view.is_renewed != 0,
		Dropped:   uint64(view.dropped),
		Data:      copyBytes(view.data, view.data_len),
		Ext:       copyBytes(view.ext, view.ext_len),
		MessageID: copyBytes(view.message_id, view.message_id_len),
		Advice:    copyBytes(view.advice, view.advice_len),
	}
	if view.channel != nil {
		text := unsafe.String((*byte)(unsafe.Pointer(view.channel)), int(view.channel_len))
		if text != *channel {
			*channel = string([]byte(text))
		}
		event.Channel = *channel
	}
	if view.error != nil {
		event.Err = copyError(view.error)
	}
	if binary.is_binary != 0 && binary.bytes != nil {
		event.Binary = &Binary{
			Bytes:   append([]byte{}, unsafe.Slice((*byte)(unsafe.Pointer(binary.bytes)), int(binary.len))...),
			Partial: binary.is_last == 0,
			Meta:    copyBytes(binary.meta, binary.meta_len),
		}
	}
	return event
}
