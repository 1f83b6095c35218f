"""What the library has a pointer to."""

import weakref
from typing import Any, Optional, Set

from ._cometd import ffi, lib
from .error import Error

# cometd_python_free takes it out again.
_kept: Set[Any] = set()


def keep(it: object) -> Any:
    pointer = ffi.new_handle(it)
    _kept.add(pointer)
    return pointer


def drop(pointer: Any) -> None:
    _kept.discard(pointer)


@ffi.def_extern()
def cometd_python_free(user: Any) -> None:
    _kept.discard(user)


class Kept:
    """What a client, or whoever owns it, has given to the library: it lives as long as its owner.

    So a client that is only referred to by functions of its own is collected.
    """

    __slots__ = ("__weakref__", "it")

    def __init__(self, it: object) -> None:
        self.it = it


def install(it: object, setter: Any, *arguments: Any) -> Kept:
    """Calls a function whose last two arguments are `user` and `free_user`."""
    kept = Kept(it)
    user = keep(weakref.ref(kept))
    status = setter(*arguments, user, lib.cometd_python_free)
    if status < 0:
        drop(user)
        raise Error(status)
    return kept


def installed(user: Any) -> Any:
    """What was installed; None when its owner was collected."""
    kept: Optional[Kept] = ffi.from_handle(user)()
    return kept and kept.it
