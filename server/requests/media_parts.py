"""Content parts on their way to the worker: texts, and pictures and sounds, which are checked."""

import binascii
from collections.abc import Iterable
from typing import Any

from llamabind.media.file_checks import read_media_file
from server.errors import InvalidRequestError

MAX_MEDIUM_BYTES = 20 << 20
# Each is work for the worker, however small its file is.
MAX_MEDIA = 128


def part_of_text(text: str) -> dict[str, Any]:
    """The content part of a text."""
    return {"type": "text", "text": text}


def part_of_url(url: str, param: str, kind: str) -> dict[str, Any]:
    """The content part of a data: URL with a medium of `kind`, "image" or "audio".

    That of an http(s) URL has no data yet: MediaFetcher brings it. Raises InvalidRequestError
    naming `param`.
    """
    if url[:8].lower().startswith(("http://", "https://")):
        return {"type": "media", "url": url, "kind": kind, "param": param}
    head, comma, text = url.partition(",")
    if not head[:5].lower() == "data:" or not comma:
        raise _invalid(param, "expected a data: URL with base64, or an http(s) URL")
    if not head.lower().endswith(";base64"):
        raise _invalid(param, "the data: URL is not in base64")
    return part_of_base64(text, param, kind)


def part_of_base64(text: str, param: str, kind: str) -> dict[str, Any]:
    """The content part of a medium in base64. Raises InvalidRequestError naming `param`."""
    if len(text) * 3 // 4 > MAX_MEDIUM_BYTES:
        raise _too_large(param)
    data = _decoded(text)
    if data is None:
        # Some tools break it into lines.
        data = _decoded("".join(text.split()))
    if data is None:
        raise _invalid(param, "the base64 is damaged")
    return part_of_bytes(data, param, kind)


def part_of_bytes(data: bytes, param: str, kind: str) -> dict[str, Any]:
    """The content part of a file's bytes.

    Raises InvalidRequestError or InvalidParameterError naming `param`.
    """
    if len(data) > MAX_MEDIUM_BYTES:
        raise _too_large(param)
    file = read_media_file(data, param)
    if file.kind != kind:
        raise _invalid(param, f"expected {kind}, but this is {file.kind}")
    return {"type": "media", "data": data, "param": param}


def media_of(messages: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The content parts of all media in a conversation. Raises InvalidRequestError for too many."""
    media = [
        part
        for message in messages
        if isinstance(content := message.get("content"), list)
        for part in content
        if part["type"] == "media"
    ]
    if len(media) > MAX_MEDIA:
        text = f"a request may have {MAX_MEDIA} pictures and sounds"
        raise _invalid(media[MAX_MEDIA]["param"], text)
    return media


def _decoded(text: str) -> bytes | None:
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        return None


def _too_large(param: str) -> InvalidRequestError:
    return _invalid(param, f"a picture or sound may have {MAX_MEDIUM_BYTES >> 20} MB at most")


def _invalid(param: str, reason: str) -> InvalidRequestError:
    return InvalidRequestError(f"field '{param}': {reason}", param=param)
