"""Parsers of flags that take a file or folder."""

# os.path instead of Path.is_file and the like, which raise where access is denied.
import os.path
from pathlib import Path
from typing import Any

from server.catalogue.model_settings import ModelSettings
from server.cli.values.lists import words
from server.cli.values.numbers import number

_MAX_TEXT_FILE = 1 << 18


def path(text: str) -> Path:
    """A file or folder."""
    if not text:
        raise ValueError("the path is empty")
    return Path(text).expanduser()


def folder(text: str) -> Path:
    """A directory, which need not exist. Raises ValueError for a file."""
    found = path(text)
    if os.path.isfile(found):  # noqa: PTH113
        raise ValueError(f"{text} is a file; --model FILE serves one file")
    return found


def cache_folder(text: str) -> Path:
    """The absolute path of a directory, which is made when it is needed."""
    found = path(text)
    if os.path.exists(found) and not os.path.isdir(found):  # noqa: PTH110, PTH112
        raise ValueError(f"{text} is not a folder")
    return found.absolute()


def existing_folder(text: str) -> Path:
    """The absolute path of an existing directory."""
    found = path(text)
    if not os.path.isdir(found):  # noqa: PTH112
        raise ValueError(f"{text} is not an existing folder")
    return found.absolute()


def text_file(text: str) -> str:
    """The content of a text file."""
    try:
        with path(text).open(encoding="utf-8") as file:
            content = file.read(_MAX_TEXT_FILE + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{text} cannot be read: {error}") from None
    if len(content) > _MAX_TEXT_FILE:
        raise ValueError(f"{text} is longer than {_MAX_TEXT_FILE} characters")
    return content


def key_file(text: str) -> tuple[str, ...]:
    """Keys from a file, one per line; empty lines and lines that begin with # are skipped."""
    lines = [line.strip() for line in text_file(text).splitlines()]
    keys = tuple(line for line in lines if line and not line.startswith("#"))
    if not keys:
        raise ValueError(f"{text} contains no key")
    return keys


def companion(text: str) -> str:
    """The absolute path of an existing file, or else the name of one in the models directory."""
    found = path(text)
    return str(found.absolute()) if os.path.isfile(found) else text  # noqa: PTH113


def companions(text: str) -> tuple[dict[str, Any], ...]:
    """LoRA adapters with scale 1, in the form of LoraChoice."""
    return tuple({"path": companion(word)} for word in words(text))


def scaled_companions(text: str) -> tuple[dict[str, Any], ...]:
    """LoRA adapters from `FILE:SCALE,...`, in the form of LoraChoice."""
    adapters = []
    for word in words(text):
        name, _, scale = word.rpartition(":")
        if not name:
            raise ValueError(f"{word!r} is not of the form adapter.gguf:0.5")
        adapters.append({"path": companion(name), "scale": number(scale)})
    return tuple(adapters)


def model_settings(text: str) -> ModelSettings:
    """The settings of models in a TOML file."""
    return ModelSettings.read(path(text))
