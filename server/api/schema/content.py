"""The parts of a message's content in OpenAI's form: text, images, audio, files."""

import binascii
from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeVar

import msgspec

from llamabind.errors import InvalidParameterError
from server.api.schema.left_out import LeftOut
from server.errors import InvalidRequestError
from server.protocol.job import instead_of_file
from server.requests.media_parts import part_of_base64, part_of_text, part_of_url

T = TypeVar("T")

_TEXT_TYPES: Final = (
    "text",
    "input_text",
    "output_text",
    "reasoning_text",
    "summary_text",
    "thinking",
)
_TEXT_FILES: Final = ("data:text/", "data:application/json", "data:application/xml")


class ImageUrl(msgspec.Struct, frozen=True):
    """The http(s) or data URL of an image; `detail` is accepted and has no effect."""

    url: str
    detail: str | None = None


class Sound(msgspec.Struct, frozen=True):
    """An audio file in base64."""

    data: str
    format: str | None = None


class FilePart(msgspec.Struct, frozen=True):
    """A file; only texts are read: base64 in a data URL of a text type."""

    file_data: str | None = None
    filename: str | None = None


class ContentPart(msgspec.Struct, frozen=True, kw_only=True):
    """One part of a content; its `type` says which other field it has.

    `text` (also as `input_text`, `output_text`), `refusal`, `image_url` (also as `input_image`) and
    `input_audio` for models with a projector, `file` (also as `input_file`) with a text. A part of
    another type is left out with a warning.
    """

    type: str | None = None
    text: str | None = None
    thinking: str | None = None
    refusal: str | None = None
    image_url: ImageUrl | str | None = None
    input_audio: Sound | None = None
    file: FilePart | None = None
    file_data: str | None = None
    filename: str | None = None
    detail: str | None = None

    def to_wire(self, path: str, left_out: LeftOut) -> dict[str, Any] | None:
        """The part for the chat template, None if it is left out. Raises InvalidRequestError."""
        kind = self.type or "text"
        if kind in _TEXT_TYPES:
            text = self.thinking if kind == "thinking" else self.text
            return self._text(text, path, left_out)
        if kind == "refusal":
            return self._text(self.refusal, path, left_out)
        if kind in ("image_url", "input_image", "computer_screenshot"):
            return self._image(kind, path, left_out)
        if kind == "input_audio":
            if self.input_audio is None:
                raise _required(f"{path}.input_audio")
            return part_of_base64(self.input_audio.data, f"{path}.input_audio", "audio")
        if kind in ("file", "input_file"):
            return self._file(kind, path, left_out)
        left_out.add_part(path, kind, "this type of content is not supported")
        return None

    def _text(self, text: str | None, path: str, left_out: LeftOut) -> dict[str, Any] | None:
        if text is None:
            left_out.add_part(path, self.type or "part", "it has no text")
            return None
        return part_of_text(text)

    def _image(self, kind: str, path: str, left_out: LeftOut) -> dict[str, Any] | None:
        image = self.image_url
        if image is None and kind == "image_url":
            raise _required(f"{path}.image_url")
        if image is None:
            left_out.add_part(path, kind, "this server stores no files; send an image_url")
            return None
        url = image if isinstance(image, str) else image.url
        return part_of_url(url, f"{path}.image_url", "image")

    def _file(self, kind: str, path: str, left_out: LeftOut) -> dict[str, Any] | None:
        file = self.file or FilePart(file_data=self.file_data, filename=self.filename)
        text = None if file.file_data is None else text_of_data_url(file.file_data)
        if text is None:
            left_out.add_part(path, kind, "only files that are a data: URL of a text are read")
            return None
        return part_of_text(f"{file.filename}:\n{text}" if file.filename else text)


def wire_content(
    content: str | list[ContentPart] | None,
    path: str,
    left_out: LeftOut,
    *,
    may_leave_out: bool = False,
) -> str | list[dict[str, Any]]:
    """The content as one text, or with media as a list of parts.

    With `may_leave_out`, for results of tools and messages of the assistant, a file that cannot be
    read is replaced by a text (`readable`). Raises InvalidRequestError naming the part.
    """
    if not isinstance(content, list):
        return content or ""
    made = []
    for index, part in enumerate(content):
        where = f"{path}[{index}]"
        if may_leave_out:
            made.append(readable(where, left_out, partial(part.to_wire, where, left_out)))
        else:
            made.append(part.to_wire(where, left_out))
    return joined([part for part in made if part is not None])


def readable(path: str, left_out: LeftOut, read: Callable[[], T]) -> T | dict[str, Any]:
    """The part that `read` returns, or a text if it cannot read the file at `path`.

    Agents send a tool's result again with every later request of the conversation. If a damaged
    file in it were an error, the conversation could not continue.
    """
    try:
        return read()
    except InvalidParameterError as error:
        reason = error.message
    except InvalidRequestError as error:
        reason = error.message.removeprefix(f"field '{error.param}': ")
    left_out.add_part(path, "media", reason)
    return instead_of_file(reason)


def joined(parts: list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    """The parts as one text if all of them are texts."""
    if all(part["type"] == "text" for part in parts):
        return "\n".join(part["text"] for part in parts)
    return parts


def text_only(content: str | list[dict[str, Any]], path: str, left_out: LeftOut) -> str:
    """The texts of a content; media are left out, for messages of the assistant."""
    if isinstance(content, str):
        return content
    texts = [part for part in content if part["type"] == "text"]
    if len(texts) < len(content):
        reason = "messages of this role may contain text only"
        left_out.add_part(path, "media", reason)
    return "\n".join(part["text"] for part in texts)


def text_of_data_url(url: str) -> str | None:
    """The text in a data: URL of a text type; None for other files."""
    head, comma, data = url.partition(",")
    if not comma or not head.lower().startswith(_TEXT_FILES):
        return None
    if not head.lower().endswith(";base64"):
        return None
    try:
        return binascii.a2b_base64(data).decode()
    except ValueError:
        return None


def _required(param: str) -> InvalidRequestError:
    return InvalidRequestError(f"field '{param}' is required", param=param)
