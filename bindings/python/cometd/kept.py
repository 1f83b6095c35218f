"""What the library has a pointer to."""

from typing import Any, Set

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


def install(it: object, setter: Any, *arguments: Any) -> None:
    """Calls a function whose last two arguments are `user` and `free_user`."""
    user = keep(it)
    status = setter(*arguments, user, lib.cometd_python_free)
    if status < 0:
        drop(user)
        raise Error(status)
