"""Formats of strings, as regular expressions or as formats that llguidance knows; pure Python."""

from __future__ import annotations

from typing import Final

_YEAR: Final = "([0-9]{3}[1-9]|[0-9]{2}[1-9]0|[0-9][1-9]00|[1-9]000)"
_DAY: Final = (
    "((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])"
    "|(0[469]|11)-(0[1-9]|[12][0-9]|30)"
    "|02-(0[1-9]|1[0-9]|2[0-8]))"
)
_FOURS: Final = "(0[48]|[2468][048]|[13579][26])"
# The days of the calendar in the years 0001 to 9999.
_DATE: Final = f"({_YEAR}-{_DAY}|([0-9]{{2}}{_FOURS}|{_FOURS}00)-02-29)"
_CLOCK: Final = "([01][0-9]|2[0-3]):[0-5][0-9]"
_TIME: Final = f"{_CLOCK}:[0-5][0-9](\\.[0-9]{{1,6}})?(Z|[+-]{_CLOCK})"
_UUID: Final = (
    "[0-9a-fA-F]{{8}}-[0-9a-fA-F]{{4}}-{}[0-9a-fA-F]{{3}}-{}[0-9a-fA-F]{{3}}-[0-9a-fA-F]{{12}}"
)
_POINTER: Final = "(/([^/~]|~[01])*)*"

PATTERNS: Final = {
    "date": _DATE,
    "date-time": f"{_DATE}T{_TIME}",
    "time": _TIME,
    "uuid": _UUID.format("[0-9a-fA-F]", "[0-9a-fA-F]"),
    **{f"uuid{n}": _UUID.format(n, "[89abAB]") for n in range(1, 6)},
    "byte": "([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?",
    "json-pointer": _POINTER,
    "relative-json-pointer": f"(0|[1-9][0-9]{{0,8}})(#|{_POINTER})",
}
"""The whole text of a string of the format."""

KNOWN: Final = {
    "duration": "duration",
    "email": "email",
    "hostname": "hostname",
    "ipv4": "ipv4",
    "ipv6": "ipv6",
    "uri": "uri",
    # Each text of the second format is also one of the first.
    "idn-email": "email",
    "idn-hostname": "hostname",
    "iri": "uri",
    "iri-reference": "uri",
    "uri-reference": "uri",
    "uri-template": "uri",
}
"""Formats that llguidance enforces, by its name for them."""

MAX_LENGTHS: Final = {"email": 254, "hostname": 253, "uri": 2000}
SCHEME: Final = "^[A-Za-z][A-Za-z0-9+.-]{0,15}:"
"""How a URI begins: without a limit a small model may write one scheme until max_tokens."""

OF_ANY_STRING: Final = frozenset({"binary", "password"})
"""OpenAPI's formats that allow every string."""
