"""The library's log in that of Python."""

import atexit
import logging
import os
import threading
from queue import SimpleQueue
from typing import Any, Optional, Tuple

from ._cometd import ffi, lib
from .kept import Kept, install, installed

#: Below logging.DEBUG: everything but what travels.
TRACE = 5

_LEVELS = {
    lib.COMETD_LOG_ERROR: logging.ERROR,
    lib.COMETD_LOG_WARN: logging.WARNING,
    lib.COMETD_LOG_INFO: logging.INFO,
    lib.COMETD_LOG_DEBUG: logging.DEBUG,
    lib.COMETD_LOG_TRACE: TRACE,
}

_Line = Tuple[int, str, str]

#: So many lines wait for a handler; what comes beyond is counted.
_MOST = 10_000


class _Sink:
    """Lines wait for a thread of Python's: the one that speaks is mostly the I/O thread of all clients."""

    def __init__(self, logger: logging.Logger) -> None:
        self.logger = logger
        self.kept: Optional[Kept] = None
        self.lines: "SimpleQueue[Optional[_Line]]" = SimpleQueue()
        # Threads of the library that speak at once may lose one in this count.
        self.lost = 0
        self.told = 0
        self.start()

    def start(self) -> None:
        self.thread = threading.Thread(target=self.run, args=(self.lines,), name="cometd log", daemon=True)
        self.thread.start()

    def run(self, lines: "SimpleQueue[Optional[_Line]]") -> None:
        while True:
            line = lines.get()
            if line is None:
                return
            level, target, text = line
            try:
                part = target.replace("::", ".").partition(".")[2]
                (self.logger.getChild(part) if part else self.logger).log(level, "%s", text)
                lost = self.lost
                if lost > self.told:
                    self.logger.warning("%d lines were lost before this one", lost - self.told)
                    self.told = lost
            except Exception:
                # What a handler cannot write, it tells by itself.
                continue


_sink: Optional[_Sink] = None


@ffi.def_extern()
def cometd_python_log(user: Any, level: int, target: Any, text: Any) -> None:
    sink: Optional[_Sink] = installed(user)
    if not sink:
        return
    if sink.lines.qsize() >= _MOST:
        sink.lost += 1
        return
    sink.lines.put(
        (_LEVELS.get(level, logging.DEBUG), str(ffi.string(target), "utf-8"), str(ffi.string(text), "utf-8"))
    )


def log_to(logger: Optional[logging.Logger], level: int = logging.INFO, bodies: bool = False) -> None:
    """Has the lines of all clients logged, from a level on: logging.DEBUG, or TRACE.

    They go to the logger's children, "cometd.session" and others. With bodies they have what travels
    as well. None as logger ends it.
    """
    global _sink
    old = _sink
    if logger is None:
        lib.cometd_log_set(lib.COMETD_LOG_OFF, ffi.NULL, ffi.NULL, ffi.NULL)
        _sink = None
    else:
        least = max([theirs for theirs, ours in _LEVELS.items() if ours >= level], default=lib.COMETD_LOG_OFF)
        new = _Sink(logger)
        try:
            new.kept = install(new, lib.cometd_log_set, lib.COMETD_LOG_BODIES if bodies else least, lib.cometd_python_log)
        except BaseException:
            new.lines.put(None)
            raise
        _sink = new
    if old:
        old.lines.put(None)
        if old.thread is not threading.current_thread():
            old.thread.join(5)


@atexit.register
def _end() -> None:
    if _sink:
        log_to(None)


def _begin_in_child() -> None:
    # The parent's thread is not here, and its queue may have been locked.
    if _sink:
        _sink.lines = SimpleQueue()
        _sink.start()


os.register_at_fork(after_in_child=_begin_in_child)
