"""The files of the web page, read into memory once."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Final

INDEX: Final = "index.html"
_TYPES: Final = {
    "css": "text/css",
    "html": "text/html",
    "js": "text/javascript",
    "mjs": "text/javascript",
    "svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class WebFile:
    """A file of the page; `etag` is a hash of its content."""

    content: bytes
    content_type: str
    etag: str


@cache
def web_files() -> dict[str, WebFile]:
    """The files by their paths below /ui/: those of static/, and of vendor/ under "vendor/".

    Files of other types, such as licences, are left out.
    """
    root = resources.files("server.web")
    found = dict(_files(root / "static", ""))
    return found | dict(_files(root / "vendor", "vendor/"))


def _files(folder: Traversable, prefix: str) -> Iterator[tuple[str, WebFile]]:
    for item in folder.iterdir():
        if item.is_dir():
            yield from _files(item, f"{prefix}{item.name}/")
        elif (kind := _TYPES.get(item.name.rpartition(".")[2])) is not None:
            content = item.read_bytes()
            yield (
                f"{prefix}{item.name}",
                WebFile(content, kind, hashlib.sha256(content).hexdigest()),
            )
