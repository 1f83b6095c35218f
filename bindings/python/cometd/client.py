"""A client for asyncio."""

import asyncio
import inspect
import json
import os
import weakref
from typing import TYPE_CHECKING, Any, Awaitable, Callable, Optional, Set, Type, Union

from ._cometd import lib
from .constants import EventType, State, Status
from .error import Error, check
from .event import Event, Message
from .handle import Handle, answering
from .options import Value

#: When so many messages wait for the program, no more are read, unless a call waits for its outcome.
BACKLOG = 1024

if TYPE_CHECKING:
    Call = asyncio.Future[Any]
else:
    Call = asyncio.Future


class _TokenProvider:
    """Runs the program's function in its loop."""

    def __init__(self, function: Callable[[], Union[str, Awaitable[str]]]) -> None:
        self.function = function
        self.loop: Optional[asyncio.AbstractEventLoop] = None
        self.tasks: Set["asyncio.Task[None]"] = set()

    def give(self, token: Any) -> None:
        if self.loop:
            self.loop.call_soon_threadsafe(self.start, self.loop, token)

    def start(self, loop: asyncio.AbstractEventLoop, token: Any) -> None:
        task = loop.create_task(self.answer(loop, token))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def answer(self, loop: asyncio.AbstractEventLoop, token: Any) -> None:
        try:
            with answering(token) as answer:
                value = self.function()
                answer(await value if inspect.isawaitable(value) else value)
        except Exception as error:
            loop.call_exception_handler({"message": "token_provider has failed", "exception": error})


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
        on_event: Optional[Callable[[Event], None]] = None,
        **options: Value,
    ) -> None:
        """Takes each option that cometd.options() lists.

        token_provider gives the value of the Authorization header, "Bearer abc", when the server
        refuses the one in use. on_event gets what happens besides messages and outcomes of calls.
        """
        self._token_provider = token_provider and _TokenProvider(token_provider)
        super().__init__(url, self._token_provider, on_event, options)
        self._loop: Optional[asyncio.AbstractEventLoop] = None
        self._descriptor = -1
        self._watched = False
        self._connected: Optional["asyncio.Future[None]"] = None
        self._ended: Optional["asyncio.Future[None]"] = None
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
        if self._token_provider:
            self._token_provider.loop = loop
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
        return self._asked(lib.cometd_client_subscribe_one, channel.encode())

    def unsubscribe(self, channel: str) -> "asyncio.Future[None]":
        return self._asked(lib.cometd_client_unsubscribe_one, channel.encode())

    def publish(self, channel: str, data: Any) -> "asyncio.Future[None]":
        """Publishes what json.dumps takes. Calls are sent in their order, also before the outcome is awaited."""
        text = json.dumps(data, separators=(",", ":")).encode()
        return self._asked(lib.cometd_client_publish_opaque, channel.encode(), text, len(text))

    def remote_call(self, channel: str, data: Any, timeout: float = 10.0) -> "asyncio.Future[Message]":
        """Publishes to a service, and awaits the answer."""
        text = json.dumps(data, separators=(",", ":")).encode()
        limit = max(1, int(timeout * 1000))
        return self._asked(lib.cometd_client_remote_call_opaque, channel.encode(), text, len(text), limit)

    async def disconnect(self, timeout: float = 10.0) -> None:
        """Ends the session after all that was called before. Messages that came can still be read."""
        if self._has_ended:
            return
        with self._using() as client:
            check(lib.cometd_client_disconnect, client, 0)
        if self._ended is None:
            return
        self._is_ending = True
        self._watch()
        await asyncio.wait({self._ended}, timeout=timeout)
        if not self._has_ended:
            raise Error(Status.TIMEOUT)

    def close(self) -> None:
        """Ends the client at once, without a word to the server."""
        self._unwatch()
        if self._close():
            self._end()

    def __aiter__(self) -> "Client":
        return self

    async def __anext__(self) -> Message:
        messages = self._messages
        while not messages:
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
        if self._messages:
            self._wake()
            if len(self._messages) >= BACKLOG and not self._calls and not self._is_ending:
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
