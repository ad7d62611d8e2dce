"""routing_prompt and session_of: what a router reads of a request, in any dialect."""

import zlib
from collections.abc import Mapping
from typing import Any, Final

import msgspec

BLOCK: Final = 32
"""Characters for which a prompt has one character: about eight tokens."""

_MAX_CHARACTERS: Final = 1 << 20
# In the order in which chat templates write them; of a conversation's two requests the second then
# begins with the first.
_FIELDS: Final = (
    *("system", "instructions", "tools", "messages", "input", "input_prefix", "prompt"),
    "suffix",
)
_SESSION_FIELDS: Final = ("prompt_cache_key", "session_id", "user")


def routing_prompt(body: Mapping[str, Any]) -> str:
    """The prompt of a request as a short text: a character for each block of 32 characters.

    Two requests share as many characters as their prompts share blocks. A prefix tree over these
    texts takes a thirty-second of the time and memory, and holds no words of users. "" if the body
    has no prompt.
    """
    parts = []
    left = _MAX_CHARACTERS
    for field in _FIELDS:
        value = body.get(field)
        if value and left > 0:
            text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
            parts.append(text[:left])
            left -= len(text)
    whole = "".join(parts).encode("utf-8", "surrogatepass")
    # 20 bits of a checksum, above the 16 bits that contain surrogates.
    return "".join(
        chr(0x10000 + (zlib.crc32(whole[start : start + BLOCK]) & 0xFFFFF))
        for start in range(0, len(whole), BLOCK)
    )


def session_of(headers: Mapping[str, str], body: Mapping[str, Any]) -> str:
    """The session of a request: the header X-Session-Id, else a field of its dialect; or ""."""
    if header := headers.get("x-session-id"):
        return header
    metadata = body.get("metadata")
    values = [body.get(field) for field in _SESSION_FIELDS]
    values.append(metadata.get("user_id") if isinstance(metadata, dict) else None)
    return next((value for value in values if isinstance(value, str) and value), "")
