"""The numbers of the library. A newer library may give others: they are then plain integers."""

from enum import IntEnum
from typing import Type, TypeVar

Constant = TypeVar("Constant", bound=IntEnum)


class Status(IntEnum):
    """What kind of error it is."""

    INVALID_ARGUMENT = -1
    INVALID_UTF8 = -2
    INVALID_URL = -3
    INVALID_CHANNEL = -4
    INVALID_JSON = -5
    INVALID_HEADER = -6
    OUT_OF_RANGE = -7
    INVALID_STATE = -8
    CLOSED = -9
    FULL = -10
    WOULD_DEADLOCK = -11
    FORKED = -12
    PANIC = -13
    SYSTEM = -14
    TIMEOUT = -20
    DNS = -21
    TCP = -22
    TLS = -23
    CONNECTION_LOST = -24
    MALFORMED_HTTP = -25
    HTTP_STATUS = -26
    UNAUTHORIZED = -27
    REDIRECT = -28
    HTML = -29
    NOT_JSON = -30
    TOO_LARGE = -31
    PROTOCOL = -32
    REFUSED = -33
    NEGOTIATION = -34
    SERVER_DISCONNECTED = -35
    ABORTED = -36
    CREDENTIALS = -37
    MESSAGE_DELETED = -38
    PROXY = -39
    UNDELIVERED = -40


class Phase(IntEnum):
    """What the client was doing when an error happened."""

    HANDSHAKE = 1
    CONNECT = 2
    SUBSCRIBE = 3
    UNSUBSCRIBE = 4
    PUBLISH = 5
    DISCONNECT = 6
    CALL = 7


class State(IntEnum):
    """Where a client stands."""

    IDLE = 0
    HANDSHAKING = 1
    CONNECTING = 2
    CONNECTED = 3
    UNCONNECTED = 4
    REHANDSHAKING = 5
    DISCONNECTING = 6
    CLOSED = 7


class EventType(IntEnum):
    """What has happened."""

    MESSAGE = 1
    STATE = 2
    SUBSCRIBED = 3
    UNSUBSCRIBED = 4
    PUBLISHED = 5
    ERROR = 6
    DROPPED = 7
    CLOSED = 8
    RESULT = 9
    ADVICE = 10
    ROOM = 11
    FLUSHED = 12
    EXPORTED = 13


def named(kind: Type[Constant], number: int) -> int:
    try:
        return kind(number)
    except ValueError:
        return number
