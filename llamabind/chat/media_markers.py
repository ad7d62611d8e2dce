"""Marks that a chat template carries to where a conversation's pictures and sounds belong."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llamabind.errors import InvalidParameterError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from llamabind.media.medium import EncodedMedium

MEDIA_TYPE = "media"
"""The `type` of a content part that holds an EncodedMedium as `medium`.

`param` names it in errors.
"""

_MARK_DIGITS = 24


@dataclass(frozen=True, slots=True)
class MarkedMedium:
    """A medium, and what its part of the conversation is called."""

    medium: EncodedMedium
    param: str


def mark_media(
    messages: Sequence[Mapping[str, Any]],
) -> tuple[Sequence[Mapping[str, Any]], dict[str, MarkedMedium]]:
    """Return the messages with marks in place of media, and the media by their marks.

    Contents with media become texts, as llama.cpp joins them: a line for each text, and nothing
    around media. A mark is random digits: nobody can guess it, and no template changes it.
    """
    media: dict[str, MarkedMedium] = {}
    marked: list[Mapping[str, Any]] = []
    for message in messages:
        content = message.get("content")
        if isinstance(content, list) and any(map(is_medium, content)):
            marked.append({**message, "content": _joined(content, media)})
        else:
            marked.append(message)
    return marked, media


def is_medium(part: object) -> bool:
    """Tell whether a content part is a picture or sound."""
    return isinstance(part, Mapping) and part.get("type") == MEDIA_TYPE


def split_at_marks(prompt: str, media: Mapping[str, MarkedMedium]) -> list[str | EncodedMedium]:
    """Return the texts of a rendered prompt and the media between them; a text comes first.

    Raises InvalidParameterError for a medium that the template left out.
    """
    if not media:
        return [prompt]
    for mark, marked in media.items():
        if mark not in prompt:
            raise InvalidParameterError(marked.param, "the chat template does not render this part")
    pieces = re.split(f"({'|'.join(media)})", prompt)
    return [media[piece].medium if piece in media else piece for piece in pieces]


def _joined(parts: Iterable[Any], media: dict[str, MarkedMedium]) -> str:
    text = ""
    was_text = False
    for part in parts:
        if is_medium(part):
            mark = "".join(secrets.choice("0123456789") for _ in range(_MARK_DIGITS))
            media[mark] = MarkedMedium(part["medium"], part.get("param", "messages"))
            text += mark
        else:
            text += "\n" * was_text + part["text"]
        was_text = not is_medium(part)
    return text
