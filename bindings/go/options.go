package cometd

// #include <stdlib.h>
// #include "glue.h"
import "C"

import (
	"context"
	"errors"
	"fmt"
	"runtime/cgo"
	"strings"
	"time"
	"unsafe"
)

// Option is what a client is made with.
type Option func(*builder) error

type builder struct {
	handle *C.cometd_client_builder
	ctx    context.Context // ends with the client
}

// With sets an option of the library by its name; Options lists them. value is a text, a number, a bool, a
// time.Duration for one in milliseconds, or a []string for one that takes several.
func With(name string, value any) Option {
	return func(b *builder) error {
		var text string
		switch value := value.(type) {
		case time.Duration:
			text = fmt.Sprint(value.Milliseconds())
		case []string:
			text = strings.Join(value, ",")
		default:
			text = fmt.Sprint(value)
		}
		cName, cText := C.CString(name), C.CString(text)
		defer C.free(unsafe.Pointer(cName))
		defer C.free(unsafe.Pointer(cText))
		var failed *C.cometd_error
		return takeError(C.cometd_client_builder_set(b.handle, cName, cText, &failed), failed)
	}
}

// WithToken has provide called when the server refuses the credentials. It returns a new value of the Authorization
// header, "Bearer abc". It runs in a goroutine, while no thread waits for it; its context ends after a minute, as the
// library's patience does, and with the client. A panic in it is an error of the client.
//
// What provide refers to lives as long as the client: one that refers to the client itself keeps that from being collected.
func WithToken(provide func(ctx context.Context) (string, error)) Option {
	return func(b *builder) error {
		user := cgo.NewHandle(&tokenProvider{b.ctx, provide})
		if status := C.glue_set_token_provider(b.handle, C.uintptr_t(user)); status < 0 {
			user.Delete()
			return newError(Status(status))
		}
		return nil
	}
}

type tokenProvider struct {
	ctx     context.Context
	provide func(context.Context) (string, error)
}

// answer is given a token that was retained.
func (p *tokenProvider) answer(token *C.cometd_token) {
	defer C.cometd_token_free(token)
	ctx, cancel := context.WithTimeout(p.ctx, time.Minute)
	defer cancel()
	value, err := p.call(ctx)
	if err == nil && value == "" {
		err = errors.New("the token provider gave an empty text")
	}
	if err == nil {
		text := C.CString(value)
		defer C.free(unsafe.Pointer(text))
		status := C.cometd_token_set_authorization(token, text)
		if status >= 0 || status == C.COMETD_E_CLOSED {
			return
		}
		err = Status(status)
	}
	why := C.CString(strings.ReplaceAll(err.Error(), "\n", " "))
	defer C.free(unsafe.Pointer(why))
	C.cometd_token_fail(token, why)
}

func (p *tokenProvider) call(ctx context.Context) (value string, err error) {
	defer func() {
		if reason := recover(); reason != nil {
			err = fmt.Errorf("panic: %v", reason)
		}
	}()
	return p.provide(ctx)
}

// OptionInfo tells what With can set. Type, Range and so on are for people.
type OptionInfo struct {
	Name, Type, Unit, Default, Range, Text string
	// Secret: the value may be one, and should not be shown.
	Secret bool
}

// Options lists the options of the library that is loaded.
func Options() []OptionInfo {
	all := make([]OptionInfo, 0, int(C.cometd_option_count()))
	for i := range cap(all) {
		option := C.cometd_option_at(C.size_t(i))
		all = append(all, OptionInfo{
			Name:    C.GoString(C.cometd_option_name(option)),
			Type:    C.GoString(C.cometd_option_type(option)),
			Unit:    C.GoString(C.cometd_option_unit(option)),
			Default: C.GoString(C.cometd_option_default(option)),
			Range:   C.GoString(C.cometd_option_range(option)),
			Text:    C.GoString(C.cometd_option_text(option)),
			Secret:  bool(C.cometd_option_is_secret(option)),
		})
	}
	return all
}

// Version is that of the library that is loaded, "0.1.0".
func Version() string { return C.GoString(C.cometd_version_string()) }
