"""A client for scripts and threads: calls wait for their outcome, `for` for the next message."""

import json
import threading
import weakref
from concurrent.futures import Future
from time import monotonic
from typing import TYPE_CHECKING, Any, Callable, Iterator, Optional, Type

from ._cometd import ffi, lib
from .constants import EventType, State, Status
from .error import Error, check
from .event import Event, Message
from .handle import Handle, answering, drop, keep, log, room
from .options import Value

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


class _TokenProvider:
    """Runs the program's function on the library's thread, where it may wait."""

    def __init__(self, function: Callable[[], str]) -> None:
        self.function = function

    def give(self, token: Any) -> None:
        try:
            with answering(token) as answer:
                answer(self.function())
        except Exception as error:
            log.error("token_provider has failed", exc_info=error)


class _Callback:
    """What the library knows of a client that has a callback."""

    def __init__(self, client: "Client") -> None:
        self.client = weakref.ref(client)


@ffi.def_extern()
def cometd_python_events(user: Any, events: Any, count: int) -> None:
    client = ffi.from_handle(user).client()
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
        on_event: Optional[Callable[[Event], None]] = None,
        **options: Value,
    ) -> None:
        """Takes each option that cometd.options() lists.

        With a callback, messages are given to that on a thread of the library, and cannot be
        iterated over. token_provider gives the value of the Authorization header, "Bearer abc",
        when the server refuses the one in use; it runs on a thread of its own, and may wait.
        on_event gets what happens besides messages and outcomes of calls, on the thread that reads.
        """
        super().__init__(url, token_provider and _TokenProvider(token_provider), on_event, options)
        self._callback = callback
        # Of what a thread waits for.
        self._changed = threading.Condition()
        self._is_read = False
        self._connected = False
        if callback:
            user = keep(_Callback(self))
            status = lib.cometd_client_set_events_callback(
                self._client, lib.cometd_python_events, user, lib.cometd_python_free
            )
            if status < 0:
                drop(user)
                raise Error(status)

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
        self._asked(lib.cometd_client_subscribe_one, channel.encode())

    def unsubscribe(self, channel: str) -> None:
        self._asked(lib.cometd_client_unsubscribe_one, channel.encode())

    def publish(self, channel: str, data: Any) -> None:
        """Publishes what json.dumps takes."""
        text = json.dumps(data, separators=(",", ":")).encode()
        self._asked(lib.cometd_client_publish_opaque, channel.encode(), text, len(text))

    def remote_call(self, channel: str, data: Any, timeout: float = 10.0) -> Message:
        """Publishes to a service, and waits for the answer."""
        text = json.dumps(data, separators=(",", ":")).encode()
        limit = max(1, int(timeout * 1000))
        answer: Message = self._asked(
            lib.cometd_client_remote_call_opaque, channel.encode(), text, len(text), limit
        )
        return answer

    def get(self, timeout: Optional[float] = None) -> Optional[Message]:
        """The next message; None when none came in time, or none comes any more."""
        if self._callback:
            raise Error(Status.INVALID_STATE, "the client has a callback")
        until = _until(timeout)
        while self._wait(lambda: bool(self._messages), until) and not (self._has_ended and not self._messages):
            try:
                return self._messages.popleft()
            except IndexError:
                # Another thread has it.
                continue
        return None

    def __iter__(self) -> Iterator[Message]:
        """Messages, until the client has ended; a fatal error is raised."""
        while True:
            message = self.get()
            if message is None:
                break
            yield message
        if self._fatal:
            raise self._fatal

    def disconnect(self, timeout: float = 10.0) -> None:
        """Ends the session after all that was called before. Messages that came can still be read."""
        if self._has_ended:
            return
        with self._using() as client:
            check(lib.cometd_client_disconnect, client, 0)
        if not self._wait(lambda: self._has_ended, _until(timeout)):
            raise Error(Status.TIMEOUT)

    def close(self) -> None:
        """Ends the client at once, without a word to the server."""
        if self._close():
            self._end()

    def _asked(self, function: Any, *arguments: Any) -> Any:
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
        finally:
            _inside.callback = False

    def _happened(self, event: Event) -> None:
        if event.type == EventType.STATE and event.state == State.CONNECTED:
            self._connected = True

    def _end(self) -> None:
        super()._end()
        with self._changed:
            self._changed.notify_all()
