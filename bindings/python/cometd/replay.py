"""Replay positions that outlive the process."""

import json
import logging
import os
import threading
from collections import deque
from pathlib import Path
from typing import Any, Deque, Dict, Optional, Protocol, Union

from ._cometd import ffi, lib
from .constants import Status
from .kept import Kept, install, installed

_log = logging.getLogger("cometd")

_raised = threading.local()


class ReplayStore(Protocol):
    """Where positions of channels are kept. What load raises, subscribe raises; a save that raises is logged,
    and made up for by the next one of the channel."""

    def load(self, channel: str) -> Optional[int]: ...

    def save(self, channel: str, position: int) -> None: ...


class FileReplayStore:
    """Positions in a JSON file, which is replaced with each of them."""

    def __init__(self, path: Union[str, "os.PathLike[str]"]) -> None:
        self._path = Path(path)
        self._lock = threading.Lock()
        self._positions: Dict[str, int] = {}
        if self._path.exists():
            positions = json.loads(self._path.read_text())
            if not isinstance(positions, dict) or not all(type(it) is int for it in positions.values()):
                raise ValueError(f"{self._path} holds no replay positions")
            self._positions = positions

    def load(self, channel: str) -> Optional[int]:
        with self._lock:
            return self._positions.get(channel)

    def save(self, channel: str, position: int) -> None:
        with self._lock:
            self._positions[channel] = position
            new = self._path.with_name(f"{self._path.name}.new")
            new.write_text(json.dumps(self._positions))
            os.replace(new, self._path)


class _Mark:
    """A message that was read, and whether the program is done with it."""

    __slots__ = ("channel", "is_done", "position")

    def __init__(self, channel: str, position: int) -> None:
        self.channel = channel
        self.position = position
        self.is_done = False


class Positions:
    """Which messages the program has, and is done with: the position is the newest before which all are done."""

    def __init__(self, store: ReplayStore) -> None:
        self._store = store
        self._lock = threading.RLock()
        self._marks: Dict[str, Deque[_Mark]] = {}

    def read(self, view: Any) -> Optional[_Mark]:
        out = ffi.new("int64_t *")
        if not lib.cometd_message_replay_id(view.message, out):
            return None
        mark = _Mark(str(ffi.unpack(view.channel, view.channel_len), "utf-8"), out[0])
        with self._lock:
            self._marks.setdefault(mark.channel, deque()).append(mark)
        return mark

    def done(self, mark: _Mark) -> None:
        # Under the lock, so that an older position does not overtake a newer one.
        with self._lock:
            mark.is_done = True
            marks = self._marks[mark.channel]
            position = None
            while marks and marks[0].is_done:
                position = marks.popleft().position
            if position is not None:
                try:
                    self._store.save(mark.channel, position)
                except Exception as error:
                    _log.error("save of the replay store has failed", exc_info=error)


@ffi.def_extern(error=Status.SYSTEM)
def cometd_python_load(user: Any, channel: Any, out: Any) -> int:
    store: Optional[ReplayStore] = installed(user)
    if store is None:
        return int(Status.CLOSED)
    try:
        position = store.load(str(ffi.string(channel), "utf-8"))
        if position is None:
            return int(lib.COMETD_NONE)
        out[0] = position
        return 0
    except BaseException as error:
        _raised.error = error
        return int(Status.SYSTEM)


def raised() -> Optional[BaseException]:
    """What load has raised inside the call that this thread has made."""
    error: Optional[BaseException] = _raised.__dict__.pop("error", None)
    return error


def set_replay_store(builder: Any, store: ReplayStore) -> Kept:
    # It is the binding that knows when the program is done: the library's events are freed as soon as they are read.
    return install(store, lib.cometd_client_builder_set_replay_store, builder, lib.cometd_python_load, ffi.NULL)
