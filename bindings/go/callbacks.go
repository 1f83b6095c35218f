package cometd

// #include "glue.h"
import "C"

import "runtime/cgo"

// Nothing of these waits or runs a program's function: they come on threads of the library.

//export cometdGoWake
func cometdGoWake(user C.uintptr_t) {
	signal(cgo.Handle(user).Value().(*session).kick)
}

//export cometdGoProvideToken
func cometdGoProvideToken(user C.uintptr_t, token *C.cometd_token) {
	go cgo.Handle(user).Value().(*tokenProvider).answer(token)
}

//export cometdGoForget
func cometdGoForget(user C.uintptr_t) {
	cgo.Handle(user).Delete()
}

// signal wakes who waits for a channel of capacity one, or who will.
func signal(channel chan struct{}) {
	select {
	case channel <- struct{}{}:
	default:
	}
}
