"""Download: the state of one download. Downloads (downloads.py) starts, runs and ends it."""

import asyncio
import time
from collections import deque
from typing import Any

from server.errors import ApiError
from server.formats import iso_time, utc_now
from server.hub.reference import ModelReference
from server.hub.repo_files import ModelFiles

_WINDOW_SECONDS = 5.0
FINISHED = frozenset({"completed", "failed", "cancelled"})


class Download:
    """State of one download: queued, running, completed, failed or cancelled."""

    def __init__(
        self,
        download_id: str,
        reference: ModelReference,
        commit: str,
        files: ModelFiles,
        done: list[int],
    ) -> None:
        self.id = download_id
        self.reference = reference
        self.commit = commit
        self.files = files
        self.state = "queued"
        self.error: dict[str, Any] | None = None
        self.failure: ApiError | None = None
        self.model_id: str | None = None
        self.changed = asyncio.Event()
        # The number of Ollama pulls that wait for this download, and whether it is cancelled
        # when the last of them disconnects.
        self.n_pulls = 0
        self.ends_with_pulls = False
        self._done = done
        self._created = utc_now()
        self._finished: str | None = None
        # (time, bytes) of the last seconds.
        self._samples: deque[tuple[float, int]] = deque()

    @property
    def key(self) -> tuple[str, str, str]:
        """Two downloads with the same key are the same."""
        return self.reference.repo, self.commit, self.files.path

    @property
    def is_finished(self) -> bool:
        """Whether the state is final."""
        return self.state in FINISHED

    @property
    def bytes_done(self) -> int:
        """Bytes on disk."""
        return sum(self._done)

    @property
    def bytes_total(self) -> int:
        """Bytes of all its files."""
        return self.files.size

    def progress(self, done: tuple[int, ...]) -> int:
        """Record the bytes on disk of each file; returns how many are new."""
        before = self.bytes_done
        self._done = [*done, *self._done[len(done) :]]
        now = time.monotonic()
        self._samples.append((now, self.bytes_done))
        while now - self._samples[0][0] > _WINDOW_SECONDS:
            self._samples.popleft()
        return max(0, self.bytes_done - before)

    def finish(self, state: str, error: ApiError | None = None) -> None:
        """Set the final state: completed, failed or cancelled."""
        self.state = state
        self.failure = error
        if error is not None:
            self.error = {"code": error.code, "message": error.message}
        if state == "completed":
            self._done = [file.size for file in self.files.all]
        self._finished = iso_time(utc_now())
        self._samples.clear()

    def notify(self) -> None:
        """Wake all waiters of `changed`, and replace it by a new event."""
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()

    def document(self) -> dict[str, Any]:
        """The download as clients see it."""
        speed = self._speed()
        left = self.bytes_total - self.bytes_done
        return {
            "id": self.id,
            "model": str(self.reference),
            "repo": self.reference.repo,
            "revision": self.reference.revision,
            "files": [
                {"file": file.path, "bytes": file.size, "bytes_done": done}
                for file, done in zip(self.files.all, self._done, strict=True)
            ],
            "state": self.state,
            "bytes_total": self.bytes_total,
            "bytes_done": self.bytes_done,
            "bytes_per_second": speed,
            "eta_seconds": round(left / speed, 1) if speed else None,
            "error": self.error,
            "model_id": self.model_id,
            "created": iso_time(self._created),
            "finished": self._finished,
        }

    def _speed(self) -> int:
        """Bytes a second over the last seconds; 0 if it does not run."""
        if len(self._samples) < 2:
            return 0
        (begin, first), (end, last) = self._samples[0], self._samples[-1]
        return int((last - first) / (end - begin)) if end > begin else 0
