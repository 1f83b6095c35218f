"""Extensions: what the program does to messages on their way."""

import json
import logging
from typing import Any, Callable, Dict, Optional

from ._cometd import ffi, lib
from .kept import Kept, install, installed

_log = logging.getLogger("cometd")


class Extension:
    """To be inherited: sees each message, of every kind, and changes it, gives another one, or None to drop it.

    The methods run on a thread of the library, where they may wait. When one raises, the exception is
    logged, and the message goes on as it was.
    """

    def outgoing(self, message: Dict[str, Any]) -> Optional[Dict[str, Any]]:
        return message

    def incoming(self, message: Dict[str, Any]) -> Optional[Dict[str, Any]]:
        return message


def _run(function: Optional[Callable[[Dict[str, Any]], Optional[Dict[str, Any]]]], message: Any) -> int:
    if not function:
        return 0
    try:
        length = ffi.new("size_t *")
        text = lib.cometd_extension_message_json(message, length)
        value = json.loads(str(ffi.unpack(text, length[0]), "utf-8"))
        before = json.dumps(value)
        given = function(value)
        if given is None:
            return int(lib.cometd_extension_message_drop(message))
        after = json.dumps(given)
        # What was left alone stays as the server has written it.
        if after == before:
            return 0
        replaced = after.encode()
        return int(lib.cometd_extension_message_replace(message, replaced, len(replaced)))
    except BaseException as error:
        _log.error("%s has failed", getattr(function, "__qualname__", function), exc_info=error)
        return -1


@ffi.def_extern(error=-1)
def cometd_python_outgoing(user: Any, message: Any) -> int:
    return _run(getattr(installed(user), "outgoing", None), message)


@ffi.def_extern(error=-1)
def cometd_python_incoming(user: Any, message: Any) -> int:
    return _run(getattr(installed(user), "incoming", None), message)


def add_extension(builder: Any, extension: Extension) -> Kept:
    functions = []
    for name in ("outgoing", "incoming"):
        is_own = getattr(type(extension), name) is not getattr(Extension, name)
        functions.append(getattr(lib, f"cometd_python_{name}") if is_own else ffi.NULL)
    return install(extension, lib.cometd_client_builder_add_extension, builder, *functions)
