package cometd

// #include <stdlib.h>
// #include "glue.h"
import "C"

import (
	"context"
	"encoding/json"
	"runtime"
	"time"
	"unsafe"
)

// Transport is how a client's messages travel.
type Transport int32

const (
	TransportLongPolling Transport = C.COMETD_TRANSPORT_LONG_POLLING
	TransportWebSocket   Transport = C.COMETD_TRANSPORT_WEBSOCKET
)

// Transport is that of the last reply; 0 before one.
func (c *Client) Transport() Transport {
	defer runtime.KeepAlive(c)
	var transport Transport
	_ = c.session.use(func(client *C.cometd_client, _ **C.cometd_error) C.cometd_status {
		transport = Transport(C.cometd_client_transport(client))
		return C.COMETD_OK
	})
	return transport
}

// SessionID is the id that the server gave the session, as in its log; empty when there is none. Who knows it may be able
// to speak for the session.
func (c *Client) SessionID() string {
	id, _ := c.text(func(client *C.cometd_client, buf *C.char, capacity C.size_t, needed *C.size_t) C.cometd_status {
		return C.cometd_client_session_id(client, buf, capacity, needed)
	})
	return string(id)
}

// Statistics is what the client has done so far: a JSON object, which cometd_client_statistics in cometd.h describes.
func (c *Client) Statistics() (json.RawMessage, error) {
	return c.text(func(client *C.cometd_client, buf *C.char, capacity C.size_t, needed *C.size_t) C.cometd_status {
		return C.cometd_client_statistics(client, buf, capacity, needed)
	})
}

// text calls what writes into a buffer, until that is large enough.
func (c *Client) text(
	write func(client *C.cometd_client, buf *C.char, capacity C.size_t, needed *C.size_t) C.cometd_status,
) ([]byte, error) {
	defer runtime.KeepAlive(c)
	buffer := make([]byte, 2048)
	for {
		var needed C.size_t
		status, err := c.session.status(func(client *C.cometd_client, _ **C.cometd_error) C.cometd_status {
			return write(client, (*C.char)(unsafe.Pointer(unsafe.SliceData(buffer))), C.size_t(len(buffer)), &needed)
		})
		switch {
		case status == C.COMETD_E_OUT_OF_RANGE && int(needed) > len(buffer):
			buffer = make([]byte, int(needed)+256)
		case status != C.COMETD_OK:
			return nil, err
		default:
			return buffer[:int(needed)-1], nil
		}
	}
}

// ServerTime is what the server's clock says now; ok is false when that is not known. It wants the option "timesync".
func (c *Client) ServerTime() (now time.Time, ok bool) {
	defer runtime.KeepAlive(c)
	var milliseconds C.int64_t
	status, _ := c.session.status(func(client *C.cometd_client, _ **C.cometd_error) C.cometd_status {
		return C.cometd_client_server_time(client, &milliseconds)
	})
	return time.UnixMilli(int64(milliseconds)), status == C.COMETD_OK
}

// Export ends the client without a word to the server, and gives its session as a text, with which the option "resume" of
// another client goes on, in this process or the next: With("resume", text). The text is a secret, and used once. With the
// option "acknowledgement" nothing is lost.
func (c *Client) Export(ctx context.Context) (string, error) {
	defer runtime.KeepAlive(c)
	for {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		var text string
		status, err := c.session.status(func(client *C.cometd_client, err **C.cometd_error) C.cometd_status {
			var given *C.char
			// In steps, so that ctx is looked at; what was not given in time is given by the next call.
			status := C.cometd_client_export(client, 100, &given, err)
			if status == C.COMETD_OK {
				text = C.GoString(given)
			}
			return status
		})
		if status != C.COMETD_E_TIMEOUT {
			return text, err
		}
	}
}
