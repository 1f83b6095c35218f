"""A CometD (Bayeux 1.0) client: for asyncio here, for scripts in cometd.sync."""

from ._cometd import ffi, lib
from .client import Client
from .constants import EventType, Phase, State, Status
from .error import Error
from .event import Event, Message
from .options import Option, options

#: The version of the library.
__version__: str = ffi.string(lib.cometd_version_string()).decode()

__all__ = [
    "Client",
    "Error",
    "Event",
    "EventType",
    "Message",
    "Option",
    "Phase",
    "State",
    "Status",
    "options",
]
