"""conversion_error: errors of llama.cpp's JSON schema converter, with the path of the keyword."""

from __future__ import annotations

import re
from typing import Final

from llamabind.errors import InvalidParameterError
from llamabind.schema.keywords import ALL

_FAILED: Final = ": JSON schema conversion failed:\n"
# Names in the path may contain colons, so the path ends where a reason of common/json-schema.cpp
# begins.
_AT_PATH: Final = re.compile(
    r"JSON schema error at #(?P<path>.*?): "
    r"(?P<reason>(?:cannot resolve|unsupported|unrecognized|\S+ must|must) .*)",
    re.DOTALL,
)
_KEYWORD: Final = re.compile(r"(?:cannot resolve |unsupported |unrecognized )?(\$?\w+)")
_KEYWORDS: Final = ALL | {"type"}


def conversion_error(message: str) -> InvalidParameterError:
    """Return the error for the shim's text "field: reason" (csrc/schema.cpp), with a reason of one
    line. The field is the path of the keyword, if the converter names one.
    """
    where, failed, detail = message.partition(_FAILED)
    if not failed:
        field, _, reason = message.partition(": ")
        return InvalidParameterError(field, reason)
    if match := _AT_PATH.fullmatch(detail):
        path, reason = _with_keyword(match["path"], match["reason"])
        return InvalidParameterError(where + path, _one_line(reason))
    first = detail.split("\n", 1)[0]
    if first.startswith("Invalid pattern "):
        return InvalidParameterError(f"{where}/pattern", first[0].lower() + first[1:])
    return InvalidParameterError(where, _one_line(detail))


def _with_keyword(path: str, reason: str) -> tuple[str, str]:
    match = _KEYWORD.match(reason)
    keyword = match[1] if match else ""
    # For an entry of a list of types the path already ends in the keyword.
    if keyword not in _KEYWORDS or re.search(r"/type/\d+$", path):
        return path, reason
    return f"{path}/{keyword}", reason.removeprefix(f"{keyword} ")


def _one_line(text: str) -> str:
    return " ".join(text.split("\n"))
