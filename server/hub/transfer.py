"""Fetches the files of a model into the cache: resumable, checked, once for all processes.

Runs in a child process only. huggingface_hub's own download keeps no part of a file; here the part
has a fixed name, is continued with a Range, and gets its place only with the right checksum.
"""

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import httpx2
from filelock import Timeout
from huggingface_hub import constants, hf_hub_url
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.file_download import http_get
from huggingface_hub.utils._fixes import WeakFileLock
from huggingface_hub.utils._headers import build_hf_headers

from server.hub.cache import HubCache
from server.hub.large_files import fetch_by_xet
from server.hub.library import CorruptFileError, host
from server.hub.messages import Fetch
from server.hub.repo_files import RepoFile

# The library drops an incomplete chunk when a connection ends. Small ones also need little memory.
_CHUNK_BYTES = 64 << 10
_HASH_BYTES = 1 << 20
_LOCK_SECONDS = 0.5
# Attempts without a new byte before giving up; the library repeats each for some seconds itself.
_MAX_ATTEMPTS = 2
_PAUSE_SECONDS = 2.0
Report = Callable[[int, int], None]
"""Called with the index of a file and its bytes on disk."""


def fetch(request: Fetch, report: Report) -> None:
    """Download what is missing of `request.files`, then name the commit by its revision."""
    constants.DOWNLOAD_CHUNK_SIZE = _CHUNK_BYTES
    cache = HubCache(Path(request.cache))
    for index, file in enumerate(request.files):
        if not cache.has(request.repo, request.commit, file):
            _fetch_file(cache, request, file, lambda done, index=index: report(index, done))  # type: ignore[misc]
        report(index, file.size)
    cache.write_ref(request.repo, request.revision, request.commit)


def _fetch_file(
    cache: HubCache, request: Fetch, file: RepoFile, report: Callable[[int], None]
) -> None:
    if not file.etag:
        raise CorruptFileError(f"{host()} gives no checksum for {file.path}")
    blob, part = cache.blob(request.repo, file.etag), cache.part(request.repo, file.etag)
    blob.parent.mkdir(parents=True, exist_ok=True)
    with _locked(cache.lock(request.repo, file.etag), part, report):
        # Another process may have downloaded it in the meantime.
        if cache.has(request.repo, request.commit, file):
            return
        if not blob.exists() or blob.stat().st_size != file.size:
            is_small = file.size <= constants.MAX_HTTP_DOWNLOAD_SIZE
            (_fetch_part if is_small else fetch_by_xet)(request, file, part, report)
            part.replace(blob)
        use_links = not constants.HF_HUB_DISABLE_SYMLINKS
        cache.make_link(request.repo, request.commit, file, use_links=use_links)


@contextmanager
def _locked(lock: Path, part: Path, report: Callable[[int], None]) -> Iterator[None]:
    """Hold the lock; while another process holds it, report what that one has downloaded."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(WeakFileLock(lock, timeout=_LOCK_SECONDS))
            except Timeout:
                if part.exists():
                    report(part.stat().st_size)
                continue
            break
        yield


def _fetch_part(request: Fetch, file: RepoFile, part: Path, report: Callable[[int], None]) -> None:
    """Complete the part file. Raises CorruptFileError, and removes the part, if it is wrong."""
    while True:
        was_resumed = part.exists() and part.stat().st_size > 0
        with part.open("r+b" if part.exists() else "w+b") as raw:
            sink = _Sink(raw, file, report)
            _receive(request, file, sink)
            os.fsync(raw.fileno())
        if sink.checksum() == file.etag:
            return
        part.unlink()
        if not was_resumed:
            raise CorruptFileError.for_file(file.path)
        # The part of an earlier attempt was wrong: once more, from the beginning.


def _receive(request: Fetch, file: RepoFile, sink: "_Sink") -> None:
    url = hf_hub_url(request.repo, file.path, revision=request.commit)
    attempts = 0
    while sink.size < file.size:
        before = sink.size
        try:
            http_get(
                url,
                sink,  # type: ignore[arg-type]
                resume_size=sink.size,
                headers=build_hf_headers(),
                expected_size=file.size,
                displayed_filename=file.path,
            )
        except (httpx2.TransportError, HfHubHTTPError, OSError) as error:
            if not _is_transient(error):
                raise
            attempts = 0 if sink.size > before else attempts + 1
            if attempts >= _MAX_ATTEMPTS:
                raise
            time.sleep(_PAUSE_SECONDS)


def _is_transient(error: Exception) -> bool:
    if isinstance(error, HfHubHTTPError):
        return error.response.status_code >= 500
    # Without a number it is http_get's "consistency check": the connection ended early.
    return isinstance(error, httpx2.TransportError) or (
        isinstance(error, OSError) and error.errno is None
    )


class _Sink:
    """The part file as http_get writes to it: counts and hashes every byte.

    What is there already is read and hashed first.
    """

    def __init__(self, raw: BinaryIO, file: RepoFile, report: Callable[[int], None]) -> None:
        self._raw = raw
        self._file = file
        self._report = report
        self._start()
        if os.fstat(raw.fileno()).st_size > file.size:
            raw.truncate(0)
        while piece := raw.read(_HASH_BYTES):
            self._take(piece)
        self._report(self.size)

    def _start(self) -> None:
        self.size = 0
        # The name of a file in git is the SHA-1 of its size and its bytes.
        self._hash: Any = hashlib.sha256()
        if self._file.sha256 is None:
            self._hash = hashlib.sha1(b"blob %d\0" % self._file.size, usedforsecurity=False)

    def _take(self, piece: bytes) -> None:
        self._hash.update(piece)
        self.size += len(piece)

    def write(self, piece: bytes) -> int:
        """More than the file's size is a wrong file, and must not fill the disk."""
        if self.size + len(piece) > self._file.size:
            raise CorruptFileError(
                f"{self._file.path} is longer than the {self._file.size} bytes that {host()} lists"
            )
        self._raw.write(piece)
        # After a kill the part has all that was received.
        self._raw.flush()
        self._take(piece)
        self._report(self.size)
        return len(piece)

    def tell(self) -> int:
        return self.size

    def seek(self, offset: int, _whence: int = 0) -> int:
        """http_get goes back only to the beginning: the server has ignored the Range."""
        assert offset == 0
        self._raw.seek(0)
        self._start()
        return 0

    def truncate(self) -> int:
        self._raw.truncate(self.size)
        return self.size

    def checksum(self) -> str:
        return str(self._hash.hexdigest())
