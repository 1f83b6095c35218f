"""What the library asks the program: for a token, the fields of a handshake, the headers of a request."""

import json
from typing import Any, Callable, List, Mapping, NamedTuple, Optional, Protocol, Tuple

from ._cometd import ffi, lib
from .constants import Phase, Status, named
from .error import Error, c_text, text
from .kept import Kept, install, installed

Fields = Optional[Mapping[str, Any]]
Headers = Optional[Mapping[str, str]]


class Handshake(NamedTuple):
    """A handshake before it is sent."""

    #: 1 for the first one since the last session that worked.
    attempt: int
    #: The reply that refused the last one; it may hold a challenge.
    refusal: Any


class Request(NamedTuple):
    """A request before it is sent."""

    #: One of Phase; 0 for one that opens a WebSocket.
    phase: int
    method: str
    url: str
    #: As it is sent, to be signed.
    body: bytes


class Provider(Protocol):
    """A function of the program's, and where it runs."""

    def give(self, question: "Question") -> None: ...


class Question:
    """What a provider is asked, until that is answered. One that nobody answers ends with its last reference."""

    def __init__(self, kind: "_Kind", pointer: Any) -> None:
        self.kind = kind
        self._pointer = ffi.gc(kind.retain(pointer), kind.free)
        self._is_answered = False
        self.arguments = kind.about(pointer)

    def answer(self, value: Any) -> None:
        try:
            self.kind.answer(self._pointer, value)
        except BaseException as error:
            self.fail(error)
            raise
        self._is_answered = True
        ffi.release(self._pointer)

    def fail(self, error: BaseException) -> None:
        # An exception may pass several that say so; what was given back is not touched again.
        if self._is_answered:
            return
        self._is_answered = True
        why = f"{type(error).__name__}: {error}".replace("\0", " ")
        self.kind.fail(self._pointer, why.encode(errors="replace"))
        ffi.release(self._pointer)


def _accept(status: int) -> None:
    # The client may have gone on without it.
    if status < 0 and status not in (Status.CLOSED, Status.FORKED, Status.TIMEOUT, Status.INVALID_STATE):
        raise Error(status)


def _answer_token(token: Any, value: str) -> None:
    _accept(lib.cometd_token_set_authorization(token, c_text(value)))


def _about_handshake(handshake: Any) -> Tuple[Any, ...]:
    refusal = text(lib.cometd_handshake_refusal(handshake, ffi.NULL))
    return (Handshake(lib.cometd_handshake_attempt(handshake), refusal and json.loads(refusal)),)


def _answer_handshake(handshake: Any, fields: Fields) -> None:
    written = json.dumps(fields or {}).encode()
    _accept(lib.cometd_handshake_set_fields(handshake, written, len(written)))


def _about_request(request: Any) -> Tuple[Any, ...]:
    body = lib.cometd_request_body(request, ffi.NULL)
    return (
        Request(
            named(Phase, lib.cometd_request_phase(request)),
            text(lib.cometd_request_method(request)) or "",
            text(lib.cometd_request_url(request, ffi.NULL)) or "",
            ffi.string(body) if body else b"",
        ),
    )


def _answer_request(request: Any, headers: Headers) -> None:
    for name, value in (headers or {}).items():
        _accept(lib.cometd_request_set_header(request, c_text(name), c_text(value)))


class _Kind(NamedTuple):
    retain: Any
    free: Any
    fail: Any
    about: Callable[[Any], Tuple[Any, ...]]
    answer: Callable[[Any, Any], None]


_TOKEN = _Kind(
    lib.cometd_token_retain, lib.cometd_token_free, lib.cometd_token_fail, lambda _: (), _answer_token
)
_HANDSHAKE = _Kind(
    lib.cometd_handshake_retain,
    lib.cometd_handshake_free,
    lib.cometd_handshake_fail,
    _about_handshake,
    _answer_handshake,
)
_REQUEST = _Kind(
    lib.cometd_request_retain, lib.cometd_request_free, lib.cometd_request_fail, _about_request, _answer_request
)


def _ask(user: Any, kind: _Kind, pointer: Any) -> int:
    provider: Optional[Provider] = installed(user)
    if provider is None:
        return int(Status.CREDENTIALS)
    question = Question(kind, pointer)
    try:
        provider.give(question)
    except BaseException as error:
        question.fail(error)
        raise
    return 0


@ffi.def_extern(error=Status.CREDENTIALS)
def cometd_python_token(user: Any, _reason: int, token: Any) -> int:
    return _ask(user, _TOKEN, token)


@ffi.def_extern(error=Status.CREDENTIALS)
def cometd_python_handshake(user: Any, handshake: Any) -> int:
    return _ask(user, _HANDSHAKE, handshake)


@ffi.def_extern(error=Status.CREDENTIALS)
def cometd_python_request(user: Any, request: Any) -> int:
    return _ask(user, _REQUEST, request)


class Providers(NamedTuple):
    token_provider: Optional[Provider] = None
    handshake_provider: Optional[Provider] = None
    header_provider: Optional[Provider] = None

    def install(self, builder: Any) -> List[Kept]:
        kept = []
        for provider, setter, function in (
            (self.token_provider, lib.cometd_client_builder_set_token_provider, lib.cometd_python_token),
            (self.handshake_provider, lib.cometd_client_builder_set_handshake_provider, lib.cometd_python_handshake),
            (self.header_provider, lib.cometd_client_builder_set_header_provider, lib.cometd_python_request),
        ):
            if provider:
                kept.append(install(provider, setter, builder, function))
        return kept
