"""`python -m server.hub`: queries the hub and downloads, for the server that holds its stdin.

It ends when its stdin does, so that nothing goes on after its server has died.
"""

import os
import signal
import sys
import threading
import time
from typing import Any

from server.hub.messages import Failed, Fetch, Fetched, Probe, Probed, Progress, Request, Search
from server.protocol.framing import FrameReader, encode_frame

_READ_BYTES = 1 << 16
_REPORT_SECONDS = 0.2


class _Replies:
    """Writes frames to the pipe that stdout was. Any thread."""

    def __init__(self) -> None:
        # Whatever prints must not mix with the frames.
        self._pipe = os.dup(1)
        os.dup2(2, 1)
        self._lock = threading.Lock()

    def send(self, reply: Any) -> None:
        data = encode_frame(reply)
        with self._lock:
            while data:
                data = data[os.write(self._pipe, data) :]


class _Reporter:
    """Sends the progress of a Fetch, at most 5 times a second."""

    def __init__(self, request: Fetch, replies: _Replies) -> None:
        self._id = request.id
        self._replies = replies
        self._done = [0] * len(request.files)
        self._next = 0.0

    def report(self, index: int, done: int) -> None:
        self._done[index] = done
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _REPORT_SECONDS
            self._replies.send(Progress(self._id, tuple(self._done)))


def _handle(request: Request, replies: _Replies) -> None:
    # Imported here: it takes a second, and the pipe is read meanwhile.
    from server.hub import library, transfer

    try:
        match request:
            case Search():
                replies.send(library.search(request.id, request.text, request.limit))
            case Probe():
                library.probe(request.repo, request.commit, request.file)
                replies.send(Probed(request.id))
            case Fetch():
                transfer.fetch(request, _Reporter(request, replies).report)
                replies.send(Fetched(request.id))
            case _:
                replies.send(library.describe(request.id, request.repo, request.revision))
    except Exception as error:  # noqa: BLE001 - every failure becomes a reply
        repo = "" if isinstance(request, Search) else request.repo
        failed = library.failure(request.id, error, repo)
        if failed.code == "download_failed":
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
        replies.send(failed)


def _safely(request: Request, replies: _Replies) -> None:
    try:
        _handle(request, replies)
    except BrokenPipeError:
        os._exit(0)
    except ImportError as error:
        message = f"huggingface_hub cannot be used ({error}); pip install 'huggingface_hub>=2.4,<3'"
        replies.send(Failed(request.id, "hub_not_installed", message))


def main() -> None:
    """Handle requests, each on a thread of its own, until stdin ends."""
    # Ctrl-C reaches all processes of a terminal; this one ends with its stdin.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    replies = _Replies()
    reader: FrameReader[Request] = FrameReader(Request)
    while data := os.read(0, _READ_BYTES):
        for request in reader.feed(data):
            threading.Thread(target=_safely, args=(request, replies), daemon=True).start()
    # Not sys.exit: it waits for what threads do.
    os._exit(0)


if __name__ == "__main__":
    main()
