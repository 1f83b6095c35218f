package cometd

// #include "glue.h"
import "C"

import (
	"bytes"
	"encoding/json"
	"errors"
	"runtime/cgo"
	"unsafe"
)

// Extension sees each message that the client sends or the server has sent, handshakes and connects too, and may change it:
// a function returns the message, changed or not, or nil to drop it. Numbers are json.Number. Either may be nil.
//
// They run one at a time and in order, on a thread of the client's own, and may wait. When one fails or panics, the message
// goes on as it was, and an EventError tells.
type Extension struct {
	Outgoing, Incoming func(message map[string]any) (map[string]any, error)
}

// WithExtension adds an extension. Incoming messages meet them in the order of the options, outgoing ones in the reverse
// order.
func WithExtension(functions Extension) Option {
	return func(b *builder) error {
		user := cgo.NewHandle(&extension{functions, b.session})
		return installed(user, C.glue_add_extension(b.handle, C.uintptr_t(user)))
	}
}

type extension struct {
	functions Extension
	session   *session
}

func (e *extension) extend(message *C.cometd_extension_message, outgoing bool) C.cometd_status {
	function := e.functions.Incoming
	if outgoing {
		function = e.functions.Outgoing
	}
	if function == nil {
		return C.COMETD_OK
	}
	if err := guarded(func() error { return replace(message, function) }); err != nil {
		e.session.tell(programFailed("an extension has failed", "", err))
		return C.COMETD_E_SYSTEM
	}
	return C.COMETD_OK
}

func replace(message *C.cometd_extension_message, function func(map[string]any) (map[string]any, error)) error {
	var length C.size_t
	text := C.cometd_extension_message_json(message, &length)
	fields := map[string]any{}
	decoder := json.NewDecoder(bytes.NewReader(unsafe.Slice((*byte)(unsafe.Pointer(text)), int(length))))
	decoder.UseNumber()
	if err := decoder.Decode(&fields); err != nil {
		return err
	}
	before, err := json.Marshal(fields)
	if err != nil {
		return err
	}
	fields, err = function(fields)
	if err != nil {
		return err
	}
	if fields == nil {
		return refused(C.cometd_extension_message_drop(message))
	}
	after, err := json.Marshal(fields)
	if err != nil || bytes.Equal(before, after) {
		return err
	}
	status := C.cometd_extension_message_replace(message, (*C.char)(unsafe.Pointer(unsafe.SliceData(after))),
		C.size_t(len(after)))
	if status < 0 {
		return errors.New(C.GoString(C.cometd_status_text(status)))
	}
	return nil
}
