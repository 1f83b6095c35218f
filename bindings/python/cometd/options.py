"""The options of a client, as the library's own table has them."""

import json
from typing import Any, List, Mapping, NamedTuple, Optional, Sequence, Union

from ._cometd import lib
from .error import c_text, check, text

#: Text, a number, a truth, several of these, or an object for an option that takes JSON.
Value = Union[str, int, bool, Sequence[Union[str, int]], Mapping[str, Any]]


class Option(NamedTuple):
    """An option: Client(url, name=value)."""

    name: str
    type: str
    unit: Optional[str]
    default: Optional[str]
    range: str
    text: str
    is_secret: bool


def options() -> List[Option]:
    """All options that the library has."""
    table = []
    for index in range(lib.cometd_option_count()):
        option = lib.cometd_option_at(index)
        table.append(
            Option(
                text(lib.cometd_option_name(option)) or "",
                text(lib.cometd_option_type(option)) or "",
                text(lib.cometd_option_unit(option)),
                text(lib.cometd_option_default(option)),
                text(lib.cometd_option_range(option)) or "",
                text(lib.cometd_option_text(option)) or "",
                lib.cometd_option_is_secret(option),
            )
        )
    return table


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value) if isinstance(value, Mapping) else str(value)


def set_option(builder: Any, name: str, value: Value) -> None:
    if isinstance(value, (str, int, Mapping)):
        values = [_word(value)]
    else:
        values = [_word(it) for it in value]
        setter = text(lib.cometd_option_setter(lib.cometd_option_find(c_text(name))))
        # Several values are several calls, or one value with commas.
        if not (setter and "_add_" in setter) and name != "replay_position":
            values = [",".join(values)]
    for it in values:
        check(lib.cometd_client_builder_set, builder, c_text(name), c_text(it))
