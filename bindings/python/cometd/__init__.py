"""A CometD (Bayeux 1.0) client: for asyncio here, for scripts in cometd.sync."""

from ._cometd import ffi, lib
from .client import Client
from .constants import EventType, Phase, State, Status
from .error import Error
from .event import Event, Message
from .extensions import Extension
from .handle import channel_matches
from .logs import TRACE, log_to
from .options import Option, options
from .providers import Handshake, Request
from .replay import FileReplayStore, ReplayStore

#: The version of the library.
__version__: str = ffi.string(lib.cometd_version_string()).decode()

__all__ = [
    "TRACE",
    "Client",
    "Error",
    "Event",
    "EventType",
    "Extension",
    "FileReplayStore",
    "Handshake",
    "Message",
    "Option",
    "Phase",
    "ReplayStore",
    "Request",
    "State",
    "Status",
    "channel_matches",
    "log_to",
    "options",
]
