"""What both clients have in common: the library's client, and its calls that wait for their outcome."""

import atexit
import json
import logging
import os
import threading
import weakref
from collections import deque
from contextlib import contextmanager
from itertools import count
from typing import (
    Any,
    Callable,
    Deque,
    Dict,
    Generic,
    Iterator,
    List,
    Mapping,
    Optional,
    Protocol,
    Sequence,
    Tuple,
    TypeVar,
)

from ._cometd import ffi, lib
from .constants import EventType, Phase, State, Status, named
from .error import Error, c_text, check, error_of
from .event import Event, Message
from .extensions import Extension, add_extension
from .kept import Kept
from .options import Value, set_option
from .providers import Providers
from .replay import Positions, ReplayStore, raised, set_replay_store

log = logging.getLogger("cometd")

#: So many events are read at once.
BATCH = 256

# Room for a batch, of those that do not read at this moment.
_rooms: List[Tuple[Any, Any]] = []


@contextmanager
def room() -> Iterator[Tuple[Any, Any]]:
    try:
        it = _rooms.pop()
    except IndexError:
        it = ffi.new("cometd_event *[]", BATCH), ffi.new("cometd_event_view[]", BATCH)
    try:
        yield it
    finally:
        _rooms.append(it)


def channel_matches(pattern: str, channel: str) -> bool:
    """Whether a subscription to a pattern, as "/a/*" or "/a/**", gets the messages of a channel."""
    return bool(lib.cometd_channel_matches(c_text(pattern), c_text(channel)))


def _result(view: Any) -> Any:
    """Of a call that has not failed."""
    if view.type == EventType.RESULT:
        return Message(view)
    return str(ffi.string(view.exported), "ascii") if view.exported else None


class Outcome(Protocol):
    """A future of asyncio or of concurrent.futures."""

    def done(self) -> bool: ...
    def set_result(self, result: Any) -> None: ...
    def set_exception(self, exception: Any) -> None: ...


Call = TypeVar("Call", bound=Outcome)


class Handle(Generic[Call]):
    """A client of the library."""

    def __init__(
        self,
        url: str,
        providers: Providers,
        on_event: Optional[Callable[[Event], None]],
        extensions: Sequence[Extension],
        replay_store: Optional[ReplayStore],
        options: Mapping[str, Value],
    ) -> None:
        self._process = os.getpid()
        # Which calls into the library are under way; the last one frees a client that was closed meanwhile.
        self._lock = threading.Lock()
        self._users = 0
        self._is_closed = False
        self._on_event = on_event
        self._messages: Deque[Message] = deque()
        self._calls: Dict[int, Call] = {}
        self._numbers = count(1)
        self._fatal: Optional[Error] = None
        self._has_ended = False
        # Of a disconnect that the server has not answered in time.
        self._abandoned: Optional[Error] = None
        self._positions = replay_store and Positions(replay_store)
        # Messages that have a reader of their own.
        self._streams: List[Tuple[bytes, Deque[Message]]] = []
        self._sorting = threading.RLock()
        if replay_store:
            options = {"replay": "new", **options}
        # What the library calls.
        self._kept: List[Kept] = []
        self._client: Any = self._build(url, providers, extensions, replay_store, options)
        self._free_by(lib.cometd_client_free, self._client)
        _all.add(self)

    def _free_by(self, function: Any, *arguments: Any) -> None:
        self._free: "weakref.finalize[Any, Any]" = weakref.finalize(self, function, *arguments)
        # See _close_all.
        self._free.atexit = False  # type: ignore[misc]

    def _build(
        self,
        url: str,
        providers: Providers,
        extensions: Sequence[Extension],
        replay_store: Optional[ReplayStore],
        options: Mapping[str, Value],
    ) -> Any:
        out = ffi.new("cometd_client_builder **")
        check(lib.cometd_client_builder_new, c_text(url), out)
        builder = ffi.gc(out[0], lib.cometd_client_builder_free)
        for name, value in options.items():
            set_option(builder, name, value)
        self._kept.extend(providers.install(builder))
        for extension in extensions:
            self._kept.append(add_extension(builder, extension))
        if replay_store:
            self._kept.append(set_replay_store(builder, replay_store))
        client = ffi.new("cometd_client **")
        check(lib.cometd_client_builder_build, builder, client)
        ffi.release(builder)
        return client[0]

    @contextmanager
    def _using(self) -> Iterator[Any]:
        """The library's client, which is not freed meanwhile."""
        if self._process != os.getpid():
            raise Error(Status.FORKED)
        with self._lock:
            if self._is_closed:
                raise Error(Status.CLOSED)
            self._users += 1
        try:
            yield self._client
        finally:
            with self._lock:
                self._users -= 1
                is_last = self._is_closed and not self._users
            if is_last:
                self._free()

    def _close(self) -> bool:
        """Frees the library's client, now or when the last call has returned. True when that has begun here."""
        if self._process != os.getpid():
            return False
        with self._lock:
            if self._is_closed:
                return False
            self._is_closed = True
            is_unused = not self._users
        if is_unused:
            self._free()
        return True

    @property
    def state(self) -> int:
        """Where the client stands: one of State."""
        try:
            with self._using() as client:
                return named(State, lib.cometd_client_state(client))
        except Error:
            return State.CLOSED

    @property
    def name(self) -> str:
        """What the client is called in errors."""
        with self._using() as client:
            return str(ffi.string(lib.cometd_client_name(client)), "utf-8")

    @property
    def session_id(self) -> Optional[str]:
        """The clientId of Bayeux; None without a session."""
        given, text = self._text(lib.cometd_client_session_id)
        return text if given == lib.COMETD_OK else None

    @property
    def last_error(self) -> Optional[Error]:
        """Why the client is not connected; None when it is, or nothing has failed yet."""
        out = ffi.new("cometd_error **")
        with self._using() as client:
            status = lib.cometd_client_last_error(client, out)
        if status < 0:
            raise Error(status)
        if not out[0]:
            return None
        try:
            return error_of(out[0])
        finally:
            lib.cometd_error_free(out[0])

    def set_replay_position(self, channel: str, position: int) -> None:
        """Sets behind which event the next subscribe to a channel starts: -1 for new ones only, -2 for all."""
        with self._using() as client:
            check(lib.cometd_client_set_replay_position, client, c_text(channel), position)

    def set_authorization(self, value: str) -> None:
        """Changes the Authorization header, "Bearer abc", from the next request on."""
        with self._using() as client:
            status = lib.cometd_client_set_authorization(client, c_text(value))
        if status < 0:
            raise Error(status)

    def statistics(self) -> Dict[str, Any]:
        """What the client has done so far, in numbers."""
        numbers: Dict[str, Any] = json.loads(self._text(lib.cometd_client_statistics)[1])
        return numbers

    def _text(self, function: Any) -> Tuple[int, str]:
        size = 4096
        needed = ffi.new("size_t *")
        while True:
            buffer = ffi.new("char[]", size)
            with self._using() as client:
                status = function(client, buffer, size, needed)
            if status == Status.OUT_OF_RANGE and needed[0] > size:
                size = needed[0] * 2
                continue
            if status < 0:
                raise Error(status)
            return status, str(ffi.string(buffer), "utf-8")

    def _begin(self) -> None:
        with self._using() as client:
            check(lib.cometd_client_batch_begin, client)

    def _send(self) -> None:
        """Ends a batch; a client that has ended holds none."""
        try:
            with self._using() as client:
                check(lib.cometd_client_batch_end, client)
        except Error as error:
            if error.status not in (Status.CLOSED, Status.FORKED):
                raise

    def _done(self, message: Optional[Message]) -> None:
        if message is not None and message.mark is not None and self._positions:
            self._positions.done(message.mark)

    def _call(self, call: Call, function: Any, *arguments: Any) -> Call:
        """Makes a call whose outcome ends `call`: it is there before the event can be."""
        number = next(self._numbers)
        self._calls[number] = call
        try:
            with self._using() as client:
                check(function, client, *arguments, ffi.cast("void *", number), ffi.NULL)
        except BaseException as error:
            self._calls.pop(number, None)
            cause = raised() if self._positions else None
            if cause:
                raise cause from error
            raise
        return call

    def _poll(self, client: Any, timeout_ms: int) -> None:
        with room() as (events, views):
            number = lib.cometd_python_poll(client, timeout_ms, events, views, BATCH)
            try:
                self._take(views, number)
            finally:
                lib.cometd_events_free(events, number)

    def _take(self, views: Any, number: int) -> None:
        """Puts what was read where it is waited for."""
        message = int(EventType.MESSAGE)
        append = self._messages.append
        if self._streams or self._positions:
            append = self._sort
        for index in range(number):
            view = views[index]
            if view.type == message:
                it = Message(view)
                if self._positions:
                    it.mark = self._positions.read(view)
                append(it)
            else:
                self._tell(view)

    def _sort(self, message: Message) -> None:
        """To the first stream whose pattern it matches, or to the reader of all others."""
        channel = message.channel.encode()
        with self._sorting:
            for pattern, messages in self._streams:
                if lib.cometd_channel_matches(pattern, channel):
                    messages.append(message)
                    return
            self._messages.append(message)

    def _add_stream(self, pattern: str) -> Deque[Message]:
        if not channel_matches(pattern, pattern):
            raise Error(Status.INVALID_CHANNEL)
        messages: Deque[Message] = deque()
        with self._sorting:
            self._streams = [*self._streams, (c_text(pattern), messages)]
        return messages

    def _leave_stream(self, messages: Deque[Message]) -> None:
        """Perhaps by the collector, in the middle of anything."""
        with self._sorting:
            self._streams = [stream for stream in self._streams if stream[1] is not messages]
            while messages:
                self._sort(messages.popleft())

    def _tell(self, view: Any) -> None:
        event = Event(view)
        if view.ends_call:
            call = self._calls.pop(view.opaque_number, None)
            if call is not None:
                if not call.done():
                    if event.error:
                        call.set_exception(event.error)
                    else:
                        call.set_result(_result(view))
                return
        if event.error and event.error.is_fatal:
            self._fatal = event.error
        if event.error and event.error.phase == Phase.DISCONNECT and event.error.status == Status.TIMEOUT:
            self._abandoned = event.error
        if event.type == EventType.CLOSED:
            self._end()
        self._happened(event)
        if self._on_event:
            try:
                self._on_event(event)
            except Exception as error:
                self._failed("on_event", error)

    def _end(self) -> None:
        """Nothing comes any more."""
        self._has_ended = True
        calls, self._calls = self._calls, {}
        for call in calls.values():
            if not call.done():
                call.set_exception(Error(Status.CLOSED))

    def _happened(self, event: Event) -> None:
        raise NotImplementedError

    def _failed(self, what: str, error: Exception) -> None:
        """An exception of the program's, in a function that was called here."""
        log.error("%s has failed", what, exc_info=error)


_all: "weakref.WeakSet[Handle[Any]]" = weakref.WeakSet()


# Daemon threads still run, and may be inside the library: what they use is not freed.
@atexit.register
def _close_all() -> None:
    for client in list(_all):
        client._close()
