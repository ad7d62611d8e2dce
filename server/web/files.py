"""The files of the web page, read into memory once."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Final

from server.web.module_graph import dynamic_imports, static_imports

INDEX: Final = "index.html"
_ENTRY: Final = "app.js"
# The line of index.html that the addresses of the modules replace.
_MODULES: Final = b"<!-- modules -->"
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


@dataclass(frozen=True, slots=True)
class WebFiles:
    """The files by their paths below /ui/ and below /ui/<version>/: those of static/, and of
    vendor/ under "vendor/". Files of other types, such as licences, are left out.

    `version` is a hash of all files. The index names all others by addresses with the version, so
    that a browser may keep them for ever and never runs modules of two versions.
    """

    files: Mapping[str, WebFile]
    version: str

    def find(self, path: str) -> tuple[WebFile | None, bool]:
        """The file at a path below /ui/, None if there is none, and whether the path has the
        version, so that its content never changes.
        """
        version, _, rest = path.partition("/")
        if version == self.version:
            return self.files.get(rest), True
        return self.files.get(path), False


@cache
def web_files() -> WebFiles:
    """The page's files."""
    root = resources.files("server.web")
    contents = dict(_read(root / "static", "")) | dict(_read(root / "vendor", "vendor/"))
    total = hashlib.sha256()
    for path, content in sorted(contents.items()):
        total.update(f"{path} {_hash(content)}\n".encode())
    version = total.hexdigest()[:16]
    contents[INDEX] = _index(contents, version)
    files = {
        path: WebFile(content, _TYPES[path.rpartition(".")[2]], _hash(content))
        for path, content in contents.items()
    }
    return WebFiles(files, version)


def _read(folder: Traversable, prefix: str) -> Iterator[tuple[str, bytes]]:
    for item in folder.iterdir():
        if item.is_dir():
            yield from _read(item, f"{prefix}{item.name}/")
        elif item.name.rpartition(".")[2] in _TYPES:
            yield f"{prefix}{item.name}", item.read_bytes()


def _index(contents: Mapping[str, bytes], version: str) -> bytes:
    """The page with links to all modules of the shell, and for each tab the addresses of its
    further modules, which core/tabs.js fetches at once when the tab is opened.
    """
    shell = static_imports(contents, _ENTRY)
    lines = [f'<link rel="modulepreload" href="ui/{version}/{path}">' for path in shell]
    for entry in dynamic_imports(contents, _ENTRY):
        paths = [path for path in static_imports(contents, entry) if path not in shell]
        addresses = " ".join(f"ui/{version}/{path}" for path in paths)
        lines.append(f'<meta name="modules-of-{entry.partition("/")[0]}" content="{addresses}">')
    page = contents[INDEX].replace(b'="ui/', f'="ui/{version}/'.encode())
    return page.replace(_MODULES, "\n".join(lines).encode())


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
