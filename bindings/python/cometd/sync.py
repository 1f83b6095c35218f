"""A client for scripts and threads: calls wait for their outcome, `for` for the next message."""

import json
import threading
import weakref
from concurrent.futures import Future
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any, Callable, Deque, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple, Type

from ._cometd import ffi, lib
from .constants import EventType, State, Status
from .error import Error, c_text, check
from .event import Event, Message
from .extensions import Extension
from .handle import Handle, log, room
from .kept import install, installed
from .options import Value
from .providers import Fields, Handshake, Headers, Providers, Question, Request
from .replay import ReplayStore

#: How long a thread waits in the library at a time, so that Ctrl-C is not kept waiting.
SLICE_MS = 100

if TYPE_CHECKING:
    Call = Future[Any]
else:
    Call = Future


# Whether a thread is inside a function of the program's that was called from here.
_inside = threading.local()


def _until(timeout: Optional[float]) -> Optional[float]:
    return None if timeout is None else monotonic() + timeout


class _Provider:
    """Runs the program's function on the library's thread, where it may wait."""

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self.name = name
        self.function = function

    def give(self, question: Question) -> None:
        try:
            try:
                value = self.function(*question.arguments)
            except BaseException as error:
                question.fail(error)
                raise
            question.answer(value)
        except BaseException as error:
            log.error("%s has failed", self.name, exc_info=error)


class _Callback:
    """What the library knows of a client that has a callback."""

    def __init__(self, client: "Client") -> None:
        self.client = weakref.ref(client)


@ffi.def_extern()
def cometd_python_events(user: Any, events: Any, count: int) -> None:
    callback: Optional[_Callback] = installed(user)
    client = callback.client() if callback else None
    if client is not None:
        client._given(events, count)


class Client(Handle[Call]):
    """A session with a server, for any number of threads."""

    def __init__(
        self,
        url: str,
        *,
        callback: Optional[Callable[[Message], None]] = None,
        token_provider: Optional[Callable[[], str]] = None,
        handshake_provider: Optional[Callable[[Handshake], Fields]] = None,
        header_provider: Optional[Callable[[Request], Headers]] = None,
        on_event: Optional[Callable[[Event], None]] = None,
        extensions: Sequence[Extension] = (),
        replay_store: Optional[ReplayStore] = None,
        **options: Value,
    ) -> None:
        """Takes each option that cometd.options() lists.

        With a callback, messages are given to that on a thread of the library, and cannot be
        iterated over. token_provider gives the value of the Authorization header, "Bearer abc",
        when the server refuses the one in use; handshake_provider the fields of each handshake, such
        as "ext"; header_provider the headers of each HTTP request. They run on a thread of their own,
        and may wait. on_event gets what happens besides messages and outcomes of calls, on the thread
        that reads. replay_store keeps how far the program is; it turns replay on.
        """
        providers = Providers(
            token_provider and _Provider("token_provider", token_provider),
            handshake_provider and _Provider("handshake_provider", handshake_provider),
            header_provider and _Provider("header_provider", header_provider),
        )
        super().__init__(url, providers, on_event, extensions, replay_store, options)
        self._callback = callback
        # Of what a thread waits for.
        self._changed = threading.Condition()
        self._is_read = False
        self._connected = False
        self._exported: Optional[Call] = None
        # The calls of a thread's batch.
        self._batch = threading.local()
        # What each thread has of each stream, of which it is done when it asks for the next. A thread that has ended
        # was done with nothing.
        self._last = threading.local()
        if callback:
            setter = lib.cometd_client_set_events_callback
            self._kept.append(install(_Callback(self), setter, self._client, lib.cometd_python_events))

    def __enter__(self) -> "Client":
        try:
            self.connect()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], *_: object) -> None:
        try:
            if kind is None and not self._has_ended:
                self.disconnect()
        finally:
            self.close()

    def connect(self, timeout: Optional[float] = None) -> None:
        """Waits until the client is connected; it tries again until then, unless an error is fatal."""
        with self._using() as client:
            check(lib.cometd_client_connect, client)
        if not self._wait(lambda: self._connected, _until(timeout)):
            raise Error(Status.TIMEOUT)
        if not self._connected:
            raise self._fatal or Error(Status.CLOSED)

    def subscribe(self, channel: str) -> None:
        """Asks for the messages of a channel; the library asks again whenever the session is lost."""
        self._asked(lib.cometd_client_subscribe_one, c_text(channel))

    def unsubscribe(self, channel: str) -> None:
        self._asked(lib.cometd_client_unsubscribe_one, c_text(channel))

    def publish(self, channel: str, data: Any, *, attempts: int = 0, timeout: Optional[float] = None) -> None:
        """Publishes what json.dumps takes. With attempts it is sent again after failures, until the timeout, if any."""
        text = json.dumps(data, separators=(",", ":")).encode()
        if attempts:
            retrying = lib.cometd_client_publish_with_retries_opaque
            limit = -1 if timeout is None else max(1, int(timeout * 1000))
            self._asked(retrying, c_text(channel), text, len(text), limit, attempts)
            return
        self._asked(lib.cometd_client_publish_opaque, c_text(channel), text, len(text))

    def remote_call(self, channel: str, data: Any, timeout: float = 10.0) -> Message:
        """Publishes to a service, and waits for the answer."""
        text = json.dumps(data, separators=(",", ":")).encode()
        limit = max(1, int(timeout * 1000))
        answer: Message = self._asked(
            lib.cometd_client_remote_call_opaque, c_text(channel), text, len(text), limit
        )
        return answer

    def publish_binary(
        self, channel: str, data: bytes, *, is_last: bool = True, meta: Optional[Mapping[str, Any]] = None
    ) -> None:
        """Publishes bytes by CometD's binary extension."""
        text = ffi.NULL if meta is None else json.dumps(meta).encode()
        length = 0 if meta is None else len(text)
        function = lib.cometd_client_publish_binary_opaque
        self._asked(function, c_text(channel), ffi.from_buffer(data), len(data), is_last, text, length)

    @contextmanager
    def batch(self) -> Iterator[None]:
        """What is called inside goes out in one request, and its outcomes are waited for at the end: the first error
        is raised. A remote call cannot be inside."""
        if getattr(self._batch, "calls", None) is not None:
            yield
            return
        self._may_wait()
        self._begin()
        calls: List[Call] = []
        self._batch.calls = calls
        try:
            yield
        finally:
            self._batch.calls = None
            self._send()
        for call in calls:
            self._wait(call.done, None)
        for call in calls:
            call.result(0)

    def flush(self, timeout: float = 10.0) -> None:
        """Waits for the outcomes of what threads have called; raises when publishes have failed since the last one."""
        self._may_wait()
        self._outcome(self._call(Future(), lib.cometd_client_start_flush), timeout)

    def export(self, timeout: float = 10.0) -> str:
        """Ends the client, and gives its session as a text for the option resume. It is a secret like a password."""
        self._may_wait()
        with self._changed:
            if not self._exported or (self._exported.done() and self._exported.exception(0)):
                self._exported = self._call(Future(), lib.cometd_client_start_export)
            exported = self._exported
        # What was not there in time may be asked for again.
        text: str = self._outcome(exported, timeout)
        return text

    def _outcome(self, call: Call, timeout: float) -> Any:
        if not self._wait(call.done, _until(timeout)):
            raise Error(Status.TIMEOUT)
        return call.result(0)

    def get(self, timeout: Optional[float] = None) -> Optional[Message]:
        """The next message; None when none came in time, or none comes any more."""
        if self._callback:
            raise Error(Status.INVALID_STATE, "the client has a callback")
        return self._next(self._messages, _until(timeout))

    def _next(self, messages: Deque[Message], until: Optional[float]) -> Optional[Message]:
        if self._positions:
            self._done(self._given_last().pop(id(messages), None))
        while self._wait(lambda: bool(messages), until) and not (self._has_ended and not messages):
            try:
                message = messages.popleft()
            except IndexError:
                # Another thread has it.
                continue
            if self._positions:
                self._given_last()[id(messages)] = message
            return message
        return None

    def _given_last(self) -> Dict[int, Message]:
        given: Dict[int, Message] = self._last.__dict__.setdefault("given", {})
        return given

    def messages(self, pattern: str) -> Iterator[Message]:
        """The messages of the channels that match, which nobody else gets any more."""
        if self._callback:
            raise Error(Status.INVALID_STATE, "the client has a callback")
        iterator = self._iterate_stream(self._add_stream(pattern))
        # Begun, so that it also ends when nobody asks it for one.
        next(iterator)
        return iterator  # type: ignore[return-value]

    def _iterate_stream(self, messages: Deque[Message]) -> Iterator[Optional[Message]]:
        try:
            yield None
            yield from self._iterate(messages)
        finally:
            self._leave_stream(messages)

    def _iterate(self, messages: Deque[Message]) -> Iterator[Message]:
        while True:
            message = self._next(messages, None)
            if message is None:
                break
            yield message
        if self._fatal:
            raise self._fatal

    def __iter__(self) -> Iterator[Message]:
        """Messages, until the client has ended; a fatal error is raised."""
        if self._callback:
            raise Error(Status.INVALID_STATE, "the client has a callback")
        return self._iterate(self._messages)

    def disconnect(self, timeout: float = 10.0) -> None:
        """Ends the session after all that was called before. Messages that came can still be read."""
        given = self._given_last()
        while given:
            self._done(given.popitem()[1])
        if self._has_ended:
            return
        with self._using() as client:
            check(lib.cometd_client_disconnect_within, client, max(1, int(timeout * 1000)))
        self._wait(lambda: self._has_ended, None)
        if self._abandoned:
            raise self._abandoned

    def close(self) -> None:
        """Ends the client at once, without a word to the server."""
        if self._close():
            self._end()

    def _asked(self, function: Any, *arguments: Any) -> Any:
        calls: Optional[List[Call]] = getattr(self._batch, "calls", None)
        if calls is not None:
            if function == lib.cometd_client_remote_call_opaque:
                raise Error(Status.INVALID_STATE, "a remote call would wait for the end of the batch")
            calls.append(self._call(Future(), function, *arguments))
            return None
        self._may_wait()
        call = self._call(Future(), function, *arguments)
        self._wait(call.done, None)
        return call.result(0)

    def _may_wait(self) -> None:
        if getattr(_inside, "callback", False):
            raise Error(Status.WOULD_DEADLOCK)

    def _wait(self, done: Callable[[], bool], until: Optional[float]) -> bool:
        """Waits in turns with other threads, of which one reads for all. False when the time is up."""
        self._may_wait()
        while True:
            with self._changed:
                if done() or self._has_ended:
                    return True
                left = None if until is None else until - monotonic()
                if left is not None and left <= 0:
                    return False
                if self._is_read or self._callback:
                    self._changed.wait(left)
                    continue
                self._is_read = True
            try:
                with self._using() as client:
                    self._poll(client, SLICE_MS if left is None else min(SLICE_MS, int(left * 1000) + 1))
            except Error:
                if not self._is_closed:
                    raise
            finally:
                with self._changed:
                    self._is_read = False
                    self._changed.notify_all()

    def _poll(self, client: Any, timeout_ms: int) -> None:
        # What the program is called from here with cannot wait for this thread.
        _inside.callback = True
        try:
            super()._poll(client, timeout_ms)
        finally:
            _inside.callback = False

    def _given(self, events: Any, number: int) -> None:
        _inside.callback = True
        try:
            with room() as (_, views):
                lib.cometd_python_look(events, views, number)
                self._take(views, number)
            with self._changed:
                self._changed.notify_all()
            while self._callback and self._messages:
                message = self._messages.popleft()
                try:
                    self._callback(message)
                except Exception as error:
                    self._failed("callback", error)
                self._done(message)
        finally:
            _inside.callback = False

    def _happened(self, event: Event) -> None:
        if event.type == EventType.STATE and event.state == State.CONNECTED:
            self._connected = True

    def _end(self) -> None:
        super()._end()
        with self._changed:
            self._changed.notify_all()
