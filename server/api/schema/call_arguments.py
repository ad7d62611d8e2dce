"""wire_arguments: the arguments of a past tool call as the JSON object that templates expect."""

import re
from typing import Any, Final

import msgspec

from server.api.schema.left_out import LeftOut

# llama.cpp's parser refuses numbers that a 64-bit float cannot hold.
_HUGE_NUMBER: Final = re.compile(r"[0-9]{309}")
_NOTE: Final = "the arguments are not a JSON object; the model gets them as a text"


def wire_arguments(arguments: Any, path: str, left_out: LeftOut) -> str:
    """The arguments as JSON text of an object.

    A model may have written invalid arguments; then the client has already sent the model an error
    as the call's result. So the request is accepted: a value that is not an object becomes
    {"arguments": text}, with a warning. An object in a JSON string is unpacked.
    """
    if arguments is None or arguments == "":
        return "{}"
    text = arguments if isinstance(arguments, str) else msgspec.json.encode(arguments).decode()
    for _ in range(2):  # some clients encode twice
        value = _decoded(text)
        if isinstance(value, dict):
            return text
        if not isinstance(value, str):
            break
        text = value
    left_out.note(path, _NOTE)
    raw = arguments if isinstance(arguments, str) else text
    return msgspec.json.encode({"arguments": raw}).decode()


def _decoded(text: str) -> Any:
    """The value of a JSON text; None if llama.cpp could not read it."""
    try:
        value = msgspec.json.decode(text)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return None
    return None if _HUGE_NUMBER.search(text) else value
