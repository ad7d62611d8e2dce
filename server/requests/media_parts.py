"""Content parts for the worker: text, and images and audio, whose files are checked here."""

import binascii
from collections.abc import Iterable, Sequence
from typing import Any

from llamabind.chat.media_markers import MEDIUM_TEXT
from llamabind.media.file_kind import file_kind
from server.errors import InvalidRequestError

MAX_MEDIUM_BYTES = 20 << 20
# Encoding costs the worker time even if the file is small.
MAX_MEDIA = 128


def part_of_text(text: str) -> dict[str, Any]:
    """The content part of a text."""
    return {"type": "text", "text": text}


def part_of_url(url: str, param: str, kind: str) -> dict[str, Any]:
    """The content part of a data:, http(s) or file: URL for a file of `kind`, "image" or "audio".

    The part of another URL than data: has no data until MediaFetcher adds it. Raises
    InvalidRequestError naming `param`.
    """
    if url[:8].lower().startswith(("http://", "https://", "file://")):
        return {"type": "media", "url": url, "kind": kind, "param": param}
    head, comma, text = url.partition(",")
    if not head[:5].lower() == "data:" or not comma:
        raise _invalid(param, "expected a data: URL with base64, an http(s) URL or a file: URL")
    if not head.lower().endswith(";base64"):
        raise _invalid(param, "the data: URL is not base64-encoded")
    return part_of_base64(text, param, kind)


def part_of_base64(text: str, param: str, kind: str | None) -> dict[str, Any]:
    """The content part of a base64 file, of any kind if `kind` is None.

    Raises InvalidRequestError or InvalidParameterError naming `param`.
    """
    if len(text) * 3 // 4 > MAX_MEDIUM_BYTES:
        raise _too_large(param)
    data = _decoded(text)
    if data is None:
        # Some tools break base64 into lines.
        data = _decoded("".join(text.split()))
    if data is None:
        raise _invalid(param, "invalid base64")
    return part_of_bytes(data, param, kind)


def part_of_bytes(data: bytes, param: str, kind: str | None) -> dict[str, Any]:
    """The content part of a file's bytes, of any kind if `kind` is None.

    Raises InvalidRequestError or InvalidParameterError naming `param`.
    """
    if len(data) > MAX_MEDIUM_BYTES:
        raise _too_large(param)
    found = file_kind(data, param)
    if kind not in (found, None):
        raise _invalid(param, f"expected {kind}, got {found}")
    return {"type": "media", "data": data, "param": param}


def media_of(messages: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The media parts of a conversation. Raises InvalidRequestError for more than MAX_MEDIA."""
    media = [
        part
        for message in messages
        if isinstance(content := message.get("content"), list)
        for part in content
        if part["type"] == "media"
    ]
    if len(media) > MAX_MEDIA:
        raise _too_many(media[MAX_MEDIA]["param"], len(media))
    return media


def text_with_media(
    text: str, files: Sequence[str], param: str
) -> tuple[str | dict[str, Any], ...]:
    """The texts of a prompt, and between them the base64 `files` in place of llama.cpp's markers.

    The first and the last item are texts. Raises InvalidRequestError or InvalidParameterError
    naming `param` or a file.
    """
    first, *texts = text.split(MEDIUM_TEXT)
    if len(texts) != len(files):
        numbers = f"number of files: {len(files)}, number of markers: {len(texts)}"
        raise _invalid(param, f"needs one marker {MEDIUM_TEXT} in the prompt per file; {numbers}")
    if len(files) > MAX_MEDIA:
        raise _too_many(f"{param}[{MAX_MEDIA}]", len(files))
    parts: list[str | dict[str, Any]] = [first]
    for index, (file, after) in enumerate(zip(files, texts, strict=True)):
        parts += [part_of_base64(file, f"{param}[{index}]", None), after]
    return tuple(parts)


def _decoded(text: str) -> bytes | None:
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        return None


def _too_many(param: str, n_files: int) -> InvalidRequestError:
    return _invalid(param, f"the request has {n_files} images and audio files, limit {MAX_MEDIA}")


def _too_large(param: str) -> InvalidRequestError:
    return _invalid(param, f"the file is larger than {MAX_MEDIUM_BYTES >> 20} MB")


def _invalid(param: str, reason: str) -> InvalidRequestError:
    return InvalidRequestError(f"field '{param}': {reason}", param=param)
