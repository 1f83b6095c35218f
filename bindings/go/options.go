package cometd

// #include <stdlib.h>
// #include "glue.h"
import "C"

import (
	"fmt"
	"strings"
	"time"
	"unsafe"
)

// Option is what a client is made with.
type Option func(*builder) error

type builder struct {
	handle  *C.cometd_client_builder
	session *session
}

// With sets an option of the library by its name; Options lists them. value is a text, a number, a bool, a
// time.Duration for one in milliseconds, or a []string for one that takes several.
func With(name string, value any) Option {
	return func(b *builder) error {
		cName := C.CString(name)
		defer C.free(unsafe.Pointer(cName))
		switch value := value.(type) {
		case time.Duration:
			return b.set(cName, fmt.Sprint(value.Milliseconds()))
		case []string:
			// Several values are several calls, or one value with commas.
			setter := C.GoString(C.cometd_option_setter(C.cometd_option_find(cName)))
			if !strings.Contains(setter, "_add_") && name != "replay_position" {
				return b.set(cName, strings.Join(value, ","))
			}
			for _, one := range value {
				if err := b.set(cName, one); err != nil {
					return err
				}
			}
			return nil
		default:
			return b.set(cName, fmt.Sprint(value))
		}
	}
}

func (b *builder) set(name *C.char, value string) error {
	if err := whole(value); err != nil {
		return err
	}
	text := C.CString(value)
	defer C.free(unsafe.Pointer(text))
	var failed *C.cometd_error
	return takeError(C.cometd_client_builder_set(b.handle, name, text, &failed), failed)
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
