"""Files for a request: images and audio as parts of a message, JSON schemas."""

import base64
import json
import mimetypes
from pathlib import Path
from typing import Any, Final

from server.command.client.errors import CommandError

_MAX_BYTES: Final = 64 << 20


def media_part(text: str) -> dict[str, Any]:
    """The part of a message for an image or audio file, by its name's end. Raises CommandError."""
    path = Path(text).expanduser()
    kind = mimetypes.guess_type(path.name)[0] or ""
    if not kind.startswith(("image/", "audio/")):
        raise CommandError(f"the name of {text} is not that of an image or audio file")
    content = base64.b64encode(_read(path)).decode()
    if kind.startswith("image/"):
        return {"type": "image_url", "image_url": {"url": f"data:{kind};base64,{content}"}}
    sound = {"data": content, "format": path.suffix.lstrip(".").lower()}
    return {"type": "input_audio", "input_audio": sound}


def response_format(text: str) -> dict[str, Any]:
    """The `response_format` of a request for the JSON schema in a file. Raises CommandError."""
    try:
        schema = json.loads(_read(Path(text).expanduser()))
    except ValueError as error:
        raise CommandError(f"{text} is not valid JSON: {error}") from None
    if not isinstance(schema, dict):
        raise CommandError(f"{text} is not a JSON schema: expected a JSON object")
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}") from None
    if len(content) > _MAX_BYTES:
        raise CommandError(f"{path} is larger than the limit of {_MAX_BYTES >> 20} MiB")
    return content
