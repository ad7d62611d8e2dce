"""PrefixFolder: the files of kept prefixes, which all models and processes of a user share."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import re
import stat
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from llamabind.context.saved_state import SavedState
from llamabind.engine.slot_file import SlotContent, content_parts, read_head, write_whole
from llamabind.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import BinaryIO

    from llamabind.engine.slot_file import SlotHead

logger = logging.getLogger(__name__)
ResultT = TypeVar("ResultT")

_FOLDER: Final = "llamabind-prefixes"
_NAME: Final = re.compile(r"[0-9a-f]{32}-[0-9a-f]{32}(\.partial)?\.prefix")
_LOCK: Final = "lock"
_NO_FILE: Final = (errno.ELOOP, errno.ENXIO, errno.EOPNOTSUPP)
"""The errors of opening a link and a socket, on Linux and macOS."""

_MIN_FREE_FRACTION: Final = 0.05
"""Fraction of the file system that stays free for other programs."""


@dataclass(frozen=True, slots=True)
class PrefixFile:
    """A file of the folder: its size in bytes and its last use in seconds since the epoch."""

    name: str
    n_bytes: int
    used_at: float


class PrefixFolder:
    """A private folder with at most `max_bytes` of files; the least recently used are removed.

    It is `llamabind-prefixes` inside the given directory, which may belong to another user, as a
    mounted volume does. Blocks, so it is not used on the engine's thread. Files are written under a
    lock: several processes then respect the limit together, and the process that holds the lock may
    remove unfinished files. Writes skip fsync: a checksum detects a file that a power loss damaged.
    """

    def __init__(self, path: Path, max_bytes: int) -> None:
        """Make the folder if needed. Raises OSError, also if other users can write to it."""
        self._max_bytes = max_bytes
        self._unusable: set[str] = set()
        self._path = path.absolute() / _FOLDER
        self._descriptor = _open_private(self._path)
        with suppress(OSError), self._locked(fcntl.LOCK_EX | fcntl.LOCK_NB):
            self._remove_unfinished()

    def close(self) -> None:
        """Close the folder; a second call does nothing."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def files(self, prefix: str = "") -> list[PrefixFile]:
        """Return the files whose names begin with `prefix`. Raises OSError.

        Links, pipes and sockets count as files, which `read_head` removes; folders are left alone.
        """
        found = []
        for name in self._names():
            if name.startswith(prefix) and _NAME.fullmatch(name):
                # Another process may have removed it.
                with suppress(FileNotFoundError):
                    state = os.stat(name, dir_fd=self._descriptor, follow_symlinks=False)
                    if not stat.S_ISDIR(state.st_mode):
                        found.append(PrefixFile(name, state.st_size, state.st_mtime))
                    else:
                        self._report(name, "it is a folder; remove it")
        return found

    def read_head(self, name: str) -> SlotHead | None:
        """Return the part of a file before its state; None for a bad file, which is removed."""
        return self._use(name, lambda file, n_bytes: read_head(file, name, n_bytes))

    def read(self, name: str, key: bytes) -> SlotContent | None:
        """Return a file's content, if it has this key; None if it is gone or bad.

        The state may be the mapped file, see SavedState.read.
        """

        def read_all(file: BinaryIO, n_bytes: int) -> SlotContent:
            head = read_head(file, name, n_bytes)
            if head.key != key:
                raise StateError("its key has changed since it was listed")
            state = SavedState.read(file, head.n_state_bytes, maps=True)
            return SlotContent(head.key, head.tokens, state, head.media, head.projector)

        return self._use(name, read_all)

    def write(self, name: str, content: SlotContent) -> PrefixFile | None:
        """Write a file and return it; None if it is larger than the limit, or its name is taken by
        a folder.

        A folder that was removed or moved away is made again. Raises OSError.
        """
        parts = content_parts(content)
        n_bytes = sum(map(len, parts))
        if n_bytes > self._max_bytes:
            return None
        self._reopen_if_removed()
        with self._locked():
            self._remove_unfinished()
            self._evict_for(n_bytes)
            try:
                write_whole(f".{name}.{os.getpid()}.part", name, parts, self._descriptor)
            except IsADirectoryError:
                return None  # `files` has reported it
            found = os.stat(name, dir_fd=self._descriptor, follow_symlinks=False)
            return PrefixFile(name, found.st_size, found.st_mtime)

    def touch(self, name: str) -> None:
        """Note that a file was used now."""
        with suppress(OSError):
            os.utime(name, dir_fd=self._descriptor, follow_symlinks=False)

    def remove(self, name: str) -> None:
        """Remove a file."""
        with suppress(OSError):
            os.unlink(name, dir_fd=self._descriptor)

    def _reopen_if_removed(self) -> None:
        with suppress(FileNotFoundError):
            if os.path.samestat(self._path.lstat(), os.fstat(self._descriptor)):
                return
        opened = _open_private(self._path)
        try:
            # Under the old number, which the reader's thread may be using.
            os.dup2(opened, self._descriptor, inheritable=False)
        finally:
            os.close(opened)

    def _names(self) -> list[str]:
        return os.listdir(self._descriptor)  # noqa: PTH208 - a descriptor has no Path

    def _report(self, name: str, reason: str | Exception) -> None:
        """Log why a file is not used, once for each name: the folder is listed after each write."""
        if name not in self._unusable:
            self._unusable.add(name)
            logger.warning("the kept prefix %s is not used: %s", name, reason)

    def _use(self, name: str, work: Callable[[BinaryIO, int], ResultT]) -> ResultT | None:
        """Return the result of `work`, which gets the open file and its size; None if that fails.

        A file is removed if it is damaged, or if it can be written to by other users.
        """
        # Without O_NONBLOCK a named pipe would block until a program writes to it.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            with os.fdopen(os.open(name, flags, dir_fd=self._descriptor), "rb") as file:
                return work(file, _checked_size(file))
        except FileNotFoundError:
            return None  # another process has removed it
        except (StateError, OSError, MemoryError) as error:
            self._report(name, error)
            if isinstance(error, StateError) or getattr(error, "errno", None) in _NO_FILE:
                self.remove(name)
                self._unusable.discard(name)
            return None

    @contextmanager
    def _locked(self, how: int = fcntl.LOCK_EX) -> Iterator[None]:
        """Hold the lock. With LOCK_NB, BlockingIOError if another process holds it."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(_LOCK, flags, 0o600, dir_fd=self._descriptor)
        try:
            try:
                fcntl.flock(descriptor, how)
            except BlockingIOError:
                raise
            except OSError:
                # Some network file systems have no locks: the limit may be exceeded for a moment.
                pass
            yield
        finally:
            os.close(descriptor)

    def _remove_unfinished(self) -> None:
        """Remove the partial files of processes that were killed while writing."""
        for name in self._names():
            if name.startswith(".") and name.endswith(".part"):
                self.remove(name)

    def _evict_for(self, n_bytes: int) -> None:
        """Remove the least recently used files until `n_bytes` fit.

        Raises OSError (ENOSPC), and removes nothing, if the file system has too little space.
        """
        files = sorted(self.files(), key=lambda file: file.used_at)
        n_held = sum(file.n_bytes for file in files)
        disk = os.statvfs(self._descriptor)
        n_free = disk.f_bavail * disk.f_frsize
        n_free -= int(_MIN_FREE_FRACTION * disk.f_blocks * disk.f_frsize)
        if n_free + n_held < n_bytes:
            n_most = max(0, n_free + n_held)
            text = f"{os.strerror(errno.ENOSPC)}: {n_bytes} bytes are needed, {n_most} can be used"
            raise OSError(errno.ENOSPC, text)
        for file in files:
            if n_held + n_bytes <= self._max_bytes and n_bytes <= n_free:
                return
            self.remove(file.name)
            n_held -= file.n_bytes
            n_free += file.n_bytes


def _open_private(folder: Path) -> int:
    """Return a descriptor of the folder, which is made if needed.

    Raises OSError, also if it is not private.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    if not _is_private(os.fstat(descriptor)):
        os.close(descriptor)
        text = f"{folder} belongs to another user, or other users can write to it"
        raise PermissionError(errno.EPERM, text)
    return descriptor


def _checked_size(file: BinaryIO) -> int:
    """Return the size of a file in bytes. Raises StateError if other users can write to it."""
    found = os.fstat(file.fileno())
    if not stat.S_ISREG(found.st_mode) or not _is_private(found):
        raise StateError("other users can write to it, or it is not a regular file")
    return found.st_size


def _is_private(found: os.stat_result) -> bool:
    """True if the file or folder belongs to this user, and other users cannot write to it."""
    return found.st_uid == os.geteuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
