package cometd

// #include "glue.h"
import "C"

import "runtime/cgo"

// Unless it says so, nothing of these waits or runs a program's function: they come on threads of the library.

//export cometdGoWake
func cometdGoWake(user C.uintptr_t) {
	signal(cgo.Handle(user).Value().(*session).kick)
}

//export cometdGoProvideToken
func cometdGoProvideToken(user C.uintptr_t, token *C.cometd_token) {
	go cgo.Handle(user).Value().(*tokenProvider).answer(token)
}

//export cometdGoProvideHandshake
func cometdGoProvideHandshake(user C.uintptr_t, handshake *C.cometd_handshake) {
	go cgo.Handle(user).Value().(*handshakeProvider).answer(handshake)
}

//export cometdGoProvideHeaders
func cometdGoProvideHeaders(user C.uintptr_t, request *C.cometd_request) {
	go cgo.Handle(user).Value().(*headerProvider).answer(request)
}

// It comes on the goroutine of Subscribe.
//
//export cometdGoLoadPosition
func cometdGoLoadPosition(user C.uintptr_t, channel *C.char, position *C.int64_t) C.cometd_status {
	return cgo.Handle(user).Value().(*positions).load(C.GoString(channel), position)
}

// It comes on a thread of the client's own, which may wait.
//
//export cometdGoExtend
func cometdGoExtend(user C.uintptr_t, message *C.cometd_extension_message, outgoing C.int) C.cometd_status {
	return cgo.Handle(user).Value().(*extension).extend(message, outgoing != 0)
}

//export cometdGoLog
func cometdGoLog(level C.int32_t, target, text *C.char) {
	takeLogLine(int32(level), C.GoString(target), C.GoString(text))
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
