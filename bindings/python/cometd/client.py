"""A client for asyncio."""

import asyncio
import inspect
import json
import os
import weakref
from contextlib import contextmanager
from typing import (
    TYPE_CHECKING,
    Any,
    Awaitable,
    Callable,
    Deque,
    Iterator,
    Mapping,
    Optional,
    Sequence,
    Set,
    Type,
    Union,
)

from ._cometd import ffi, lib
from .constants import EventType, State, Status
from .error import Error, c_text, check
from .event import Event, Message
from .extensions import Extension
from .handle import Handle
from .options import Value
from .providers import Fields, Handshake, Headers, Providers, Question, Request
from .replay import ReplayStore

#: When so many messages wait for the program, no more are read, unless a call waits for its outcome.
BACKLOG = 1024

if TYPE_CHECKING:
    Call = asyncio.Future[Any]
else:
    Call = asyncio.Future


class _Provider:
    """Runs the program's function in its loop."""

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self.name = name
        self.function = function
        self.loop: Optional[asyncio.AbstractEventLoop] = None
        self.tasks: Set["asyncio.Task[None]"] = set()

    def give(self, question: Question) -> None:
        try:
            if self.loop:
                self.loop.call_soon_threadsafe(self.start, self.loop, question)
        except RuntimeError as error:
            # The loop is closed, and the client is not: there is nobody to tell.
            question.fail(error)

    def start(self, loop: asyncio.AbstractEventLoop, question: Question) -> None:
        task = loop.create_task(self.answer(loop, question))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def answer(self, loop: asyncio.AbstractEventLoop, question: Question) -> None:
        try:
            try:
                value = self.function(*question.arguments)
                value = await value if inspect.isawaitable(value) else value
            except BaseException as error:
                question.fail(error)
                raise
            question.answer(value)
        except Exception as error:
            loop.call_exception_handler({"message": f"{self.name} has failed", "exception": error})


class Stream:
    """The messages of some channels, by `async for`: the program is done with one when it asks for the next."""

    def __init__(self, client: "Client", messages: Deque[Message]) -> None:
        self._client = client
        self._messages = messages
        self._last: Optional[Message] = None
        self._is_closed = False

    def __aiter__(self) -> "Stream":
        return self

    async def __anext__(self) -> Message:
        last, self._last = self._last, None
        self._client._done(last)
        if self._is_closed:
            raise StopAsyncIteration
        message = await self._client._next(self._messages, self)
        if self._client._positions:
            self._last = message
        return message

    def __del__(self) -> None:
        if not self._is_closed:
            self._client._forget(self._messages)

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """What matches goes to the client's own iteration again, and what is left here."""
        if not self._is_closed:
            self._is_closed = True
            self._client._leave_stream(self._messages)
            self._client._wake()


def _read(client: "weakref.ref[Client]") -> None:
    it = client()
    if it is not None:
        it._read()


def _discard(process: int, loop: asyncio.AbstractEventLoop, descriptor: int, client: Any) -> None:
    """The end of a client that was collected, on whichever thread that was."""

    def stop() -> None:
        loop.remove_reader(descriptor)
        lib.cometd_client_free(client)

    # The child of a fork has the parent's epoll: what it removed there, the parent would miss.
    if process == os.getpid() and not loop.is_closed():
        try:
            loop.call_soon_threadsafe(stop)
            return
        except RuntimeError:
            pass
    lib.cometd_client_free(client)


class Client(Handle[Call]):
    """A session with a server: its messages by `async for`, its calls by `await`.

    As other objects of asyncio it is used in the thread of its loop.
    """

    def __init__(
        self,
        url: str,
        *,
        token_provider: Optional[Callable[[], Union[str, Awaitable[str]]]] = None,
        handshake_provider: Optional[Callable[[Handshake], Union[Fields, Awaitable[Fields]]]] = None,
        header_provider: Optional[Callable[[Request], Union[Headers, Awaitable[Headers]]]] = None,
        on_event: Optional[Callable[[Event], None]] = None,
        extensions: Sequence[Extension] = (),
        replay_store: Optional[ReplayStore] = None,
        **options: Value,
    ) -> None:
        """Takes each option that cometd.options() lists.

        token_provider gives the value of the Authorization header, "Bearer abc", when the server
        refuses the one in use; handshake_provider the fields of each handshake, such as "ext";
        header_provider the headers of each HTTP request. on_event gets what happens besides messages
        and outcomes of calls. replay_store keeps how far the program is; it turns replay on.
        """
        providers = Providers(
            token_provider and _Provider("token_provider", token_provider),
            handshake_provider and _Provider("handshake_provider", handshake_provider),
            header_provider and _Provider("header_provider", header_provider),
        )
        self._providers = [it for it in providers if isinstance(it, _Provider)]
        super().__init__(url, providers, on_event, extensions, replay_store, options)
        self._last: Optional[Message] = None
        self._loop: Optional[asyncio.AbstractEventLoop] = None
        self._descriptor = -1
        self._watched = False
        self._connected: Optional["asyncio.Future[None]"] = None
        self._ended: Optional["asyncio.Future[None]"] = None
        self._exported: Optional["asyncio.Future[str]"] = None
        self._is_ending = False
        self._waiting: Set["asyncio.Future[None]"] = set()

    async def __aenter__(self) -> "Client":
        try:
            await self.connect()
        except BaseException:
            self.close()
            raise
        return self

    async def __aexit__(self, kind: Optional[Type[BaseException]], *_: object) -> None:
        try:
            if kind is None and not self._has_ended:
                await self.disconnect()
        finally:
            self.close()

    async def connect(self) -> None:
        """Waits until the client is connected; it tries again until then, unless an error is fatal."""
        loop = asyncio.get_running_loop()
        for provider in self._providers:
            provider.loop = loop
        with self._using() as client:
            descriptor = lib.cometd_client_fd(client)
            if descriptor < 0:
                raise Error(Status.SYSTEM)
            check(lib.cometd_client_connect, client)
            self._free.detach()
            self._free_by(_discard, self._process, loop, descriptor, client)
        self._loop, self._descriptor = loop, descriptor
        self._connected, self._ended = loop.create_future(), loop.create_future()
        self._watch()
        await self._connected

    def subscribe(self, channel: str) -> "asyncio.Future[None]":
        """Asks for the messages of a channel; the library asks again whenever the session is lost."""
        return self._asked(lib.cometd_client_subscribe_one, c_text(channel))

    def unsubscribe(self, channel: str) -> "asyncio.Future[None]":
        return self._asked(lib.cometd_client_unsubscribe_one, c_text(channel))

    def publish(
        self, channel: str, data: Any, *, attempts: int = 0, timeout: Optional[float] = None
    ) -> "asyncio.Future[None]":
        """Publishes what json.dumps takes. Calls are sent in their order, also before the outcome is awaited.

        With attempts it is sent again after failures, until the timeout, if there is one.
        """
        text = json.dumps(data, separators=(",", ":")).encode()
        if attempts:
            retrying = lib.cometd_client_publish_with_retries_opaque
            limit = -1 if timeout is None else max(1, int(timeout * 1000))
            return self._asked(retrying, c_text(channel), text, len(text), limit, attempts)
        return self._asked(lib.cometd_client_publish_opaque, c_text(channel), text, len(text))

    def remote_call(self, channel: str, data: Any, timeout: float = 10.0) -> "asyncio.Future[Message]":
        """Publishes to a service, and awaits the answer."""
        text = json.dumps(data, separators=(",", ":")).encode()
        limit = max(1, int(timeout * 1000))
        return self._asked(lib.cometd_client_remote_call_opaque, c_text(channel), text, len(text), limit)

    def publish_binary(
        self, channel: str, data: bytes, *, is_last: bool = True, meta: Optional[Mapping[str, Any]] = None
    ) -> "asyncio.Future[None]":
        """Publishes bytes by CometD's binary extension."""
        text = ffi.NULL if meta is None else json.dumps(meta).encode()
        length = 0 if meta is None else len(text)
        function = lib.cometd_client_publish_binary_opaque
        return self._asked(function, c_text(channel), ffi.from_buffer(data), len(data), is_last, text, length)

    @contextmanager
    def batch(self) -> Iterator[None]:
        """What is called inside goes out in one request. An outcome is awaited behind it."""
        self._begin()
        try:
            yield
        finally:
            self._send()

    async def flush(self, timeout: float = 10.0) -> None:
        """Waits for the outcomes of all that was called; raises when publishes have failed since the last one."""
        call = self._asked(lib.cometd_client_start_flush)
        await asyncio.wait({call}, timeout=timeout)
        if not call.done():
            call.cancel()
            raise Error(Status.TIMEOUT)
        call.result()

    async def export(self, timeout: float = 10.0) -> str:
        """Ends the client, and gives its session as a text for the option resume. It is a secret like a password."""
        if not self._exported or (self._exported.done() and self._exported.exception()):
            self._exported = self._asked(lib.cometd_client_start_export)
        # What was not there in time may be asked for again.
        await asyncio.wait({self._exported}, timeout=timeout)
        if not self._exported.done():
            raise Error(Status.TIMEOUT)
        return self._exported.result()

    def messages(self, pattern: str) -> Stream:
        """The messages of the channels that match, which the client's own iteration has no more."""
        return Stream(self, self._add_stream(pattern))

    def _forget(self, messages: Deque[Message]) -> None:
        """The end of a stream that was collected, on whichever thread that was."""
        self._leave_stream(messages)
        if self._process == os.getpid() and self._loop and not self._loop.is_closed():
            try:
                self._loop.call_soon_threadsafe(self._wake)
            except RuntimeError:
                pass

    async def disconnect(self, timeout: float = 10.0) -> None:
        """Ends the session after all that was called before. Messages that came can still be read."""
        last, self._last = self._last, None
        self._done(last)
        if self._has_ended:
            return
        with self._using() as client:
            check(lib.cometd_client_disconnect_within, client, max(1, int(timeout * 1000)))
        if self._ended is None:
            return
        self._is_ending = True
        self._watch()
        await asyncio.wait({self._ended})
        if self._abandoned:
            raise self._abandoned

    def close(self) -> None:
        """Ends the client at once, without a word to the server."""
        self._unwatch()
        if self._close():
            self._end()

    def __aiter__(self) -> "Client":
        return self

    async def __anext__(self) -> Message:
        if not self._positions:
            return await self._next(self._messages)
        last, self._last = self._last, None
        self._done(last)
        self._last = await self._next(self._messages)
        return self._last

    async def _next(self, messages: Deque[Message], stream: Optional[Stream] = None) -> Message:
        while not messages:
            if stream and stream._is_closed:
                raise StopAsyncIteration
            if self._has_ended:
                if self._fatal:
                    raise self._fatal
                raise StopAsyncIteration
            self._watch()
            waiting: "asyncio.Future[None]" = asyncio.get_running_loop().create_future()
            self._waiting.add(waiting)
            try:
                await waiting
            finally:
                self._waiting.discard(waiting)
        return messages.popleft()

    def _asked(self, function: Any, *arguments: Any) -> Call:
        loop = self._loop or asyncio.get_running_loop()
        call = self._call(loop.create_future(), function, *arguments)
        self._watch()
        return call

    def _watch(self) -> None:
        if self._loop and not self._has_ended and not self._watched:
            self._loop.add_reader(self._descriptor, _read, weakref.ref(self))
            self._watched = True

    def _unwatch(self) -> None:
        # See _discard.
        if self._loop and self._watched and self._process == os.getpid() and not self._loop.is_closed():
            self._loop.remove_reader(self._descriptor)
        self._watched = False

    def _read(self) -> None:
        self._poll(self._client, 0)
        waiting = len(self._messages) + sum(len(messages) for _, messages in self._streams)
        if waiting:
            self._wake()
            if waiting >= BACKLOG and not self._calls and not self._is_ending:
                self._unwatch()

    def _wake(self) -> None:
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)

    def _happened(self, event: Event) -> None:
        if event.type == EventType.STATE and event.state == State.CONNECTED:
            if self._connected and not self._connected.done():
                self._connected.set_result(None)

    def _end(self) -> None:
        super()._end()
        self._unwatch()
        if self._connected and not self._connected.done():
            self._connected.set_exception(self._fatal or Error(Status.CLOSED))
        if self._ended and not self._ended.done():
            self._ended.set_result(None)
        self._wake()

    def _failed(self, what: str, error: Exception) -> None:
        if self._loop:
            self._loop.call_exception_handler({"message": f"{what} has failed", "exception": error})
