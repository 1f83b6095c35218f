package cometd

// #include <stdlib.h>
// #include "glue.h"
import "C"

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"runtime/cgo"
	"strings"
	"time"
	"unsafe"
)

// WithToken has provide called when the server refuses the credentials. It returns a new value of the Authorization
// header, "Bearer abc". It runs in a goroutine, while no thread waits for it; its context ends after a minute, as the
// library's patience does, and with the client. A panic in it is an error of the client.
//
// What provide refers to lives as long as the client: one that refers to the client itself keeps that from being collected.
func WithToken(provide func(ctx context.Context) (string, error)) Option {
	return func(b *builder) error {
		user := cgo.NewHandle(&tokenProvider{b.session.ctx, provide})
		return installed(user, C.glue_set_token_provider(b.handle, C.uintptr_t(user)))
	}
}

// Handshake is one that is about to be sent.
type Handshake struct {
	// Attempt counts from 1 on, since the last session that worked.
	Attempt int
	// Refusal is the message by which the server refused the last one, perhaps with a challenge; or nil.
	Refusal json.RawMessage
}

// WithHandshake has provide called before each handshake. It returns fields of the message, what json.Marshal makes an
// object of ("ext" joins the option "handshake_ext"), or nil for none. It is called as that of WithToken.
func WithHandshake(provide func(ctx context.Context, handshake Handshake) (fields any, err error)) Option {
	return func(b *builder) error {
		user := cgo.NewHandle(&handshakeProvider{b.session.ctx, provide})
		return installed(user, C.glue_set_handshake_provider(b.handle, C.uintptr_t(user)))
	}
}

// Request is an HTTP request that is about to be sent.
type Request struct {
	// Phase is what it is for; PhasePublish for all calls; 0 where a WebSocket is opened.
	Phase       Phase
	Method, URL string
	Body        []byte
}

// WithHeaders has provide called before each HTTP request. It returns headers of that one, or nil. It is called as that
// of WithToken, and perhaps for several requests at a time.
func WithHeaders(provide func(ctx context.Context, request Request) (http.Header, error)) Option {
	return func(b *builder) error {
		user := cgo.NewHandle(&headerProvider{b.session.ctx, provide})
		return installed(user, C.glue_set_header_provider(b.handle, C.uintptr_t(user)))
	}
}

func installed(user cgo.Handle, status C.cometd_status) error {
	if status < 0 {
		user.Delete()
		return newError(Status(status))
	}
	return nil
}

type tokenProvider struct {
	ctx     context.Context
	provide func(context.Context) (string, error)
}

// answer is given a token that was retained, as those below are.
func (p *tokenProvider) answer(token *C.cometd_token) {
	defer C.cometd_token_free(token)
	provided(p.ctx, func(ctx context.Context) error {
		value, err := p.provide(ctx)
		if err != nil {
			return err
		}
		if value == "" {
			return errors.New("the token provider gave an empty text")
		}
		if err := whole(value); err != nil {
			return err
		}
		text := C.CString(value)
		defer C.free(unsafe.Pointer(text))
		return refused(C.cometd_token_set_authorization(token, text))
	}, func(why *C.char) { C.cometd_token_fail(token, why) })
}

type handshakeProvider struct {
	ctx     context.Context
	provide func(context.Context, Handshake) (any, error)
}

func (p *handshakeProvider) answer(handshake *C.cometd_handshake) {
	defer C.cometd_handshake_free(handshake)
	provided(p.ctx, func(ctx context.Context) error {
		var length C.size_t
		refusal := C.cometd_handshake_refusal(handshake, &length)
		fields, err := p.provide(ctx, Handshake{int(C.cometd_handshake_attempt(handshake)), copyBytes(refusal, length)})
		if err != nil {
			return err
		}
		text := []byte("{}")
		if fields != nil {
			if text, err = json.Marshal(fields); err != nil {
				return err
			}
		}
		return refused(C.cometd_handshake_set_fields(handshake, (*C.char)(unsafe.Pointer(unsafe.SliceData(text))),
			C.size_t(len(text))))
	}, func(why *C.char) { C.cometd_handshake_fail(handshake, why) })
}

type headerProvider struct {
	ctx     context.Context
	provide func(context.Context, Request) (http.Header, error)
}

func (p *headerProvider) answer(request *C.cometd_request) {
	defer C.cometd_request_free(request)
	provided(p.ctx, func(ctx context.Context) error {
		var length C.size_t
		body := C.cometd_request_body(request, &length)
		headers, err := p.provide(ctx, Request{
			Phase:  Phase(C.cometd_request_phase(request)),
			Method: C.GoString(C.cometd_request_method(request)),
			URL:    C.GoString(C.cometd_request_url(request, nil)),
			Body:   copyBytes(body, length),
		})
		if err != nil {
			return err
		}
		for name, values := range headers {
			if err := setHeader(request, name, strings.Join(values, ", ")); err != nil {
				return err
			}
		}
		return nil
	}, func(why *C.char) { C.cometd_request_fail(request, why) })
}

func setHeader(request *C.cometd_request, name, value string) error {
	if err := whole(name, value); err != nil {
		return err
	}
	cName, cValue := C.CString(name), C.CString(value)
	defer C.free(unsafe.Pointer(cName))
	defer C.free(unsafe.Pointer(cValue))
	return refused(C.cometd_request_set_header(request, cName, cValue))
}

// refused is nil for an answer that nobody waits for any more.
func refused(status C.cometd_status) error {
	if status >= 0 || status == C.COMETD_E_CLOSED {
		return nil
	}
	return Status(status)
}

func provided(ctx context.Context, answer func(ctx context.Context) error, fail func(why *C.char)) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := guarded(func() error { return answer(ctx) }); err != nil {
		why := C.CString(strings.ReplaceAll(err.Error(), "\n", " "))
		defer C.free(unsafe.Pointer(why))
		fail(why)
	}
}
