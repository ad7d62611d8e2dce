"""Markers that stand for images and audio while a chat template renders a conversation."""

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

MEDIUM_TEXT = "<__media__>"
"""The marker that llama.cpp's tools write in place of an image or audio."""

_MARKER_DIGITS = 24


@dataclass(frozen=True, slots=True)
class NamedMedium:
    """A medium, and the name of its content part in errors (`param`)."""

    medium: EncodedMedium
    param: str


def insert_markers(
    messages: Sequence[Mapping[str, Any]],
) -> tuple[Sequence[Mapping[str, Any]], dict[str, NamedMedium]]:
    """Return the messages with markers in place of media, and the media by their markers.

    The content parts of a message with media are joined to one text as llama.cpp does: newlines
    between text parts, nothing around media. A marker is random digits: a client cannot guess it,
    and no template changes it.
    """
    media: dict[str, NamedMedium] = {}
    marked: list[Mapping[str, Any]] = []
    for message in messages:
        content = message.get("content")
        if isinstance(content, list) and any(map(is_medium, content)):
            marked.append({**message, "content": _joined(content, media)})
        else:
            marked.append(message)
    return marked, media


def is_medium(part: object) -> bool:
    """Return whether a content part is an image or audio."""
    return isinstance(part, Mapping) and part.get("type") == MEDIA_TYPE


def split_at_markers(prompt: str, media: Mapping[str, NamedMedium]) -> list[str | EncodedMedium]:
    """Return the texts of a rendered prompt and the media between them; the first item is a text.

    Raises InvalidParameterError for a medium that the template did not render.
    """
    if not media:
        return [prompt]
    for marker, marked in media.items():
        if marker not in prompt:
            raise InvalidParameterError(marked.param, "the chat template does not render this part")
    pieces = re.split(f"({'|'.join(media)})", prompt)
    return [media[piece].medium if piece in media else piece for piece in pieces]


def _joined(parts: Iterable[Any], media: dict[str, NamedMedium]) -> str:
    text = ""
    was_text = False
    for part in parts:
        if is_medium(part):
            marker = "".join(secrets.choice("0123456789") for _ in range(_MARKER_DIGITS))
            media[marker] = NamedMedium(part["medium"], part.get("param", "messages"))
            text += marker
        else:
            text += "\n" * was_text + part["text"]
        was_text = not is_medium(part)
    return text
