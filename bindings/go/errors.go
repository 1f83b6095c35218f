package cometd

// #include "glue.h"
import "C"

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Status says what kind of error it is, for errors.Is(err, cometd.ErrTimeout). More may come.
type Status int32

const (
	ErrInvalidArgument    Status = C.COMETD_E_INVALID_ARGUMENT    // an argument is NULL or not acceptable
	ErrInvalidUTF8        Status = C.COMETD_E_INVALID_UTF8        // a text is not UTF-8
	ErrInvalidURL         Status = C.COMETD_E_INVALID_URL         // the URL is not an absolute http or https URL
	ErrInvalidChannel     Status = C.COMETD_E_INVALID_CHANNEL     // the channel's name is not valid
	ErrInvalidJSON        Status = C.COMETD_E_INVALID_JSON        // a text is not JSON, is nested too deep, or is not the JSON asked for
	ErrInvalidHeader      Status = C.COMETD_E_INVALID_HEADER      // a value would break out of its HTTP header
	ErrOutOfRange         Status = C.COMETD_E_OUT_OF_RANGE        // a number is out of its range
	ErrInvalidState       Status = C.COMETD_E_INVALID_STATE       // the function cannot be called now
	ErrClosed             Status = C.COMETD_E_CLOSED              // the client has been disconnected or has ended
	ErrFull               Status = C.COMETD_E_FULL                // too many messages wait for their outcome, or outcomes for the program to read them
	ErrWouldDeadlock      Status = C.COMETD_E_WOULD_DEADLOCK      // a function that blocks was called inside a callback
	ErrForked             Status = C.COMETD_E_FORKED              // the object belongs to the parent process
	ErrPanic              Status = C.COMETD_E_PANIC               // the library panicked, which is a bug in it
	ErrSystem             Status = C.COMETD_E_SYSTEM              // the system refused a thread, a descriptor or memory
	ErrTimeout            Status = C.COMETD_E_TIMEOUT             // the server did not answer in time
	ErrDNS                Status = C.COMETD_E_DNS                 // the server's name could not be resolved
	ErrTCP                Status = C.COMETD_E_TCP                 // the server could not be reached
	ErrTLS                Status = C.COMETD_E_TLS                 // the TLS handshake failed, or the certificate is not trusted
	ErrConnectionLost     Status = C.COMETD_E_CONNECTION_LOST     // the connection broke before the whole response
	ErrMalformedHTTP      Status = C.COMETD_E_MALFORMED_HTTP      // the response is not HTTP
	ErrHTTPStatus         Status = C.COMETD_E_HTTP_STATUS         // the server answered with an HTTP status other than 200
	ErrUnauthorized       Status = C.COMETD_E_UNAUTHORIZED        // the server wants other credentials (HTTP 401 or 407)
	ErrRedirect           Status = C.COMETD_E_REDIRECT            // the server redirects to where the client does not follow
	ErrHTML               Status = C.COMETD_E_HTML                // the response is an HTML page, of a proxy or a login form
	ErrNotJSON            Status = C.COMETD_E_NOT_JSON            // the response is not JSON
	ErrTooLarge           Status = C.COMETD_E_TOO_LARGE           // the response is larger than the limit
	ErrProtocol           Status = C.COMETD_E_PROTOCOL            // the response is not what Bayeux asks for
	ErrRefused            Status = C.COMETD_E_REFUSED             // the server refused the message; the Bayeux error tells why
	ErrNegotiation        Status = C.COMETD_E_NEGOTIATION         // client and server have no connection type in common
	ErrServerDisconnected Status = C.COMETD_E_SERVER_DISCONNECTED // the server ended the session
	ErrAborted            Status = C.COMETD_E_ABORTED             // the client closed before the server answered
	ErrCredentials        Status = C.COMETD_E_CREDENTIALS         // the token provider, the handshake provider or the header provider gave nothing
	ErrMessageDeleted     Status = C.COMETD_E_MESSAGE_DELETED     // an extension of the program's deleted the message
	ErrProxy              Status = C.COMETD_E_PROXY               // the proxy could not be reached, refused to pass a request on, or wants other credentials (HTTP 407)
	ErrUndelivered        Status = C.COMETD_E_UNDELIVERED         // messages that cometd_client_publish had accepted have failed
)

func (s Status) Error() string {
	return "cometd: " + C.GoString(C.cometd_status_text(C.cometd_status(s)))
}

// String is the name of the status in C, "COMETD_E_TIMEOUT".
func (s Status) String() string { return C.GoString(C.cometd_status_name(C.cometd_status(s))) }

// Phase is what the client was doing when an error happened.
type Phase int32

const (
	PhaseHandshake   Phase = C.COMETD_PHASE_HANDSHAKE
	PhaseConnect     Phase = C.COMETD_PHASE_CONNECT
	PhaseSubscribe   Phase = C.COMETD_PHASE_SUBSCRIBE
	PhaseUnsubscribe Phase = C.COMETD_PHASE_UNSUBSCRIBE
	PhasePublish     Phase = C.COMETD_PHASE_PUBLISH
	PhaseDisconnect  Phase = C.COMETD_PHASE_DISCONNECT
	PhaseCall        Phase = C.COMETD_PHASE_CALL
)

// Error is an error with all that the library knows of it.
type Error struct {
	Status  Status
	Message string
	Phase   Phase
	// Channel is empty when the error is about none.
	Channel string
	// HTTPStatus and WebSocketCode are 0 when there was no such answer.
	HTTPStatus    int
	WebSocketCode int
	// Bayeux is the error as the server wrote it, "403::denied", and BayeuxCode its number.
	Bayeux     string
	BayeuxCode int
	// RetryIn is how long the client waits before it tries again; negative when it does not.
	RetryIn time.Duration
	// Fatal: the client has stopped because of it.
	Fatal bool
	// Client and URL are empty for errors of arguments.
	Client, URL string
	// Ext is the ext of the reply that was the error.
	Ext json.RawMessage

	cause error
}

func (e *Error) Error() string { return "cometd: " + e.Message }

// Is makes errors.Is(err, cometd.ErrTimeout) work.
func (e *Error) Is(target error) bool {
	status, ok := target.(Status)
	return ok && status == e.Status
}

// Unwrap gives what a function of the program's has returned, or said when it panicked.
func (e *Error) Unwrap() error { return e.cause }

// Timeout is that of net.Error.
func (e *Error) Timeout() bool { return e.Status == ErrTimeout }

func copyError(from *C.cometd_error) *Error {
	var look C.cometd_error_view
	C.cometd_error_look(from, &look, C.sizeof_cometd_error_view)
	retry := time.Duration(look.retry_in_ms)
	if retry > 0 {
		retry *= time.Millisecond
	}
	return &Error{
		Status:        Status(look.status),
		Message:       C.GoString(look.message),
		Phase:         Phase(look.phase),
		Channel:       C.GoString(look.channel),
		HTTPStatus:    int(look.http_status),
		WebSocketCode: int(look.websocket_code),
		Bayeux:        C.GoString(look.bayeux),
		BayeuxCode:    int(look.bayeux_code),
		RetryIn:       retry,
		Fatal:         look.is_fatal != 0,
		Client:        C.GoString(look.client),
		URL:           C.GoString(look.url),
		Ext:           copyBytes(look.ext, look.ext_len),
	}
}

// takeError makes an error of a function's status, and frees what the library gave with it.
func takeError(status C.cometd_status, from *C.cometd_error) error {
	if status >= 0 {
		return nil
	}
	if from == nil {
		return newError(Status(status))
	}
	defer C.cometd_error_free(from)
	return copyError(from)
}

func newError(status Status) *Error {
	return &Error{
		Status:  status,
		Message: C.GoString(C.cometd_status_text(C.cometd_status(status))),
		Phase:   PhaseCall,
		RetryIn: -1,
	}
}

// whole refuses texts that would end in C where they have a NUL.
func whole(texts ...string) error {
	for _, text := range texts {
		if strings.IndexByte(text, 0) >= 0 {
			err := newError(ErrInvalidArgument)
			err.Message = "a text has a NUL in it"
			return err
		}
	}
	return nil
}

// programFailed is the error of a function of the program's that the library has called.
func programFailed(what, channel string, cause error) *Error {
	err := newError(ErrSystem)
	err.Message, err.Channel, err.cause = what+": "+cause.Error(), channel, cause
	return err
}

// guarded makes an error of a panic.
func guarded(do func() error) (err error) {
	defer func() {
		if reason := recover(); reason != nil {
			err = fmt.Errorf("panic: %v", reason)
		}
	}()
	return do()
}
