"""LocalMedia: images and audio in a folder of this machine, named by file: URLs."""

import os
import stat
from pathlib import Path
from urllib.parse import unquote

from server.errors import InvalidRequestError

_SCHEME = "file://"


def is_file_url(url: str) -> bool:
    """Whether a URL names a file of this machine."""
    return url[: len(_SCHEME)].lower() == _SCHEME


class LocalMedia:
    """Reads files below one folder; None refuses all. Blocking: use a thread.

    A name cannot reach a file outside: it is resolved, links included, and refused if the result is
    not below the folder. The resolved path is then opened without following links, so that a link
    which replaces a part of it meanwhile is refused, too.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def read(self, url: str, param: str, limit: int) -> bytes:
        """The content of the file that a URL names, relative to the folder.

        Raises InvalidRequestError naming `param`, also if it has more than `limit` bytes.
        """
        if self._folder is None:
            raise _failed(
                param,
                "file: URLs are disabled on this server (--media-path); send a data: URL",
            )
        name = unquote(url[len(_SCHEME) :]).lstrip("/")
        if not name or "\0" in name:
            raise _failed(param, f"{name!r} is not a file name")
        root = Path(os.path.realpath(self._folder))
        path = Path(os.path.realpath(root / name))
        missing = _failed(param, f"no file {name!r} in the folder of --media-path")
        if not path.is_relative_to(root):
            raise missing
        try:
            descriptor = _open_below(root, path.relative_to(root))
            try:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise missing
                with os.fdopen(descriptor, "rb", closefd=False) as file:
                    data = file.read(limit + 1)
            finally:
                os.close(descriptor)
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            raise missing from None
        except OSError as error:
            raise _failed(param, f"{name!r} cannot be read: {error.strerror}") from None
        if len(data) > limit:
            raise _failed(param, f"the file is larger than {limit >> 20} MB")
        return data


def _open_below(root: Path, path: Path) -> int:
    """Open a file below `root` by a path without links. Raises OSError."""
    # O_NONBLOCK: opening a named pipe would wait for its writer.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in path.parts[:-1]:
            inner = os.open(part, flags | os.O_DIRECTORY, dir_fd=folder)
            os.close(folder)
            folder = inner
        return os.open(path.name or ".", flags, dir_fd=folder)
    finally:
        os.close(folder)


def _failed(param: str, reason: str) -> InvalidRequestError:
    return InvalidRequestError(f"field '{param}': {reason}", param=param)
