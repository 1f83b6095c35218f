"""What a client gets: messages, and what else happens to it."""

import json
from typing import Any, Optional, Union

from ._cometd import ffi, lib
from .constants import EventType, State, named
from .error import Error, error_of

_decode = json.JSONDecoder().decode
_unpack = ffi.unpack


def _json(text: Optional[bytes]) -> Any:
    return None if text is None else _decode(str(text, "utf-8"))


def _bytes(pointer: Any, length: int) -> Optional[bytes]:
    return bytes(_unpack(pointer, length)) if pointer else None


class Message:
    """A message that came on a channel, or the answer to a remote call."""

    __slots__ = ("binary", "binary_meta", "channel", "ext_json", "id_json", "is_last", "json", "mark")

    channel: str
    #: The data as the server wrote it.
    json: bytes
    #: The package's own: where a replay store is.
    mark: Any
    ext_json: Optional[bytes]
    id_json: Optional[bytes]
    #: The bytes of a message of CometD's binary extension.
    binary: Optional[bytes]
    #: What it says of its bytes, and whether no other part belongs behind them.
    binary_meta: Any
    is_last: bool

    def __init__(self, view: Any) -> None:
        self.channel = str(_unpack(view.channel, view.channel_len), "utf-8")
        self.json = _unpack(view.data, view.data_len)
        self.id_json = self.ext_json = self.binary = self.binary_meta = self.mark = None
        self.is_last = True
        length = view.message_id_len
        if length:
            self.id_json = _unpack(view.message_id, length)
        length = view.ext_len
        if length:
            self.ext_json = _unpack(view.ext, length)
            out = ffi.new("size_t *")
            bytes_of = lib.cometd_message_binary(view.message, out)
            if bytes_of:
                self.binary = bytes(ffi.buffer(bytes_of, out[0]))
                self.is_last = lib.cometd_message_binary_is_last(view.message)
                meta = lib.cometd_message_binary_meta(view.message, out)
                self.binary_meta = _json(ffi.unpack(meta, out[0])) if meta else None

    @property
    def data(self) -> Any:
        """The data; each call reads the JSON anew."""
        return _decode(str(self.json, "utf-8"))

    @property
    def ext(self) -> Any:
        return _json(self.ext_json)

    @property
    def replay_id(self) -> Optional[int]:
        """By which Salesforce's replay extension names the event."""
        data = self.data
        event = data.get("event") if isinstance(data, dict) else None
        given = event.get("replayId") if isinstance(event, dict) else None
        try:
            return None if given is None else int(given)
        except (TypeError, ValueError):
            return None

    @property
    def id(self) -> Any:
        return _json(self.id_json)

    def __repr__(self) -> str:
        return f"<cometd.Message {self.channel} {self.json!r}>"


class Event:
    """What happens to a client besides messages and the outcomes of calls."""

    __slots__ = ("advice_json", "channel", "dropped", "error", "ext_json", "is_renewed", "previous", "state", "type")

    #: One of EventType.
    type: int
    channel: Optional[str]
    #: Of EventType.STATE: one of State, and the one before.
    state: int
    previous: int
    #: Of EventType.SUBSCRIBED: whether the library has subscribed again, in a new session.
    is_renewed: bool
    #: Of EventType.ERROR.
    error: Optional[Error]
    #: Of EventType.DROPPED: how many messages.
    dropped: int
    advice_json: Optional[bytes]
    ext_json: Optional[bytes]

    def __init__(self, view: Any) -> None:
        self.type = named(EventType, view.type)
        channel = _bytes(view.channel, view.channel_len)
        self.channel = None if channel is None else str(channel, "utf-8")
        self.state = named(State, view.state)
        self.previous = named(State, view.previous)
        self.is_renewed = bool(view.is_renewed)
        self.error = error_of(view.error) if view.error else None
        self.dropped = view.dropped
        self.advice_json = _bytes(view.advice, view.advice_len)
        self.ext_json = _bytes(view.ext, view.ext_len)

    @property
    def advice(self) -> Any:
        return _json(self.advice_json)

    @property
    def ext(self) -> Any:
        return _json(self.ext_json)

    def __repr__(self) -> str:
        kind = getattr(self.type, "name", self.type)
        rest = [str(it) for it in (self.channel, self.error) if it is not None]
        if self.type == EventType.STATE:
            rest.append(getattr(self.state, "name", str(self.state)))
        return f"<cometd.Event {' '.join([str(kind), *rest])}>"


Happening = Union[Message, Event]
