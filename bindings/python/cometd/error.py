"""Errors."""

from typing import Any, Optional

from ._cometd import ffi, lib
from .constants import Phase, Status, named


def text(pointer: Any) -> Optional[str]:
    return str(ffi.string(pointer), "utf-8") if pointer else None


def c_text(value: str) -> bytes:
    """As functions of the library take it; one with a NUL would end there."""
    if "\0" in value:
        raise ValueError("embedded null character")
    return value.encode()


class Error(Exception):
    """What the library or the server has refused, or what has failed."""

    #: One of Status.
    status: int
    message: str
    #: One of Phase; 0 for none.
    phase: int
    channel: Optional[str]
    #: The status of the HTTP response that was the error, or that carried it.
    http_status: Optional[int]
    #: Seconds until the client tries again; None when it does not.
    retry_in: Optional[float]
    #: Whether the client has ended because of it.
    is_fatal: bool
    #: What the server wrote, "403::denied".
    bayeux: Optional[str]
    #: The code with which a WebSocket was closed.
    websocket_code: Optional[int]
    url: Optional[str]

    def __init__(self, status: int, message: Optional[str] = None) -> None:
        self.status = named(Status, status)
        self.message = message or text(lib.cometd_status_text(status)) or ""
        super().__init__(self.message)
        self.phase = 0
        self.channel = None
        self.http_status = None
        self.retry_in = None
        self.is_fatal = False
        self.bayeux = None
        self.websocket_code = None
        self.url = None

    def __reduce__(self) -> Any:
        return type(self), (self.status, self.message), self.__dict__


def error_of(pointer: Any) -> Error:
    """Copies an error of the library."""
    view = ffi.new("cometd_error_view *")
    lib.cometd_error_look(pointer, view, ffi.sizeof("cometd_error_view"))
    error = Error(view.status, text(view.message))
    error.phase = named(Phase, view.phase)
    error.channel = text(view.channel)
    error.http_status = view.http_status or None
    error.retry_in = None if view.retry_in_ms < 0 else view.retry_in_ms / 1000
    error.is_fatal = view.is_fatal != 0
    error.bayeux = text(view.bayeux)
    error.websocket_code = view.websocket_code or None
    error.url = text(view.url)
    return error


def check(function: Any, *arguments: Any) -> int:
    """Calls a function whose last argument is `err`."""
    out = ffi.new("cometd_error **")
    status: int = function(*arguments, out)
    if status >= 0:
        return status
    if not out[0]:
        raise Error(status)
    try:
        raise error_of(out[0])
    finally:
        lib.cometd_error_free(out[0])
