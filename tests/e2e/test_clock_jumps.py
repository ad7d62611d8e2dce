"""The wall clock jumps by a day while the server runs: no timer follows it, and timestamps do."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.server_process import TINY, ServerProcess, next_event, until

pytestmark = pytest.mark.e2e

_LOAD = f"/api/v2/models/{TINY}/load"
_CHAT = f"/api/v2/chat/{TINY}"
_MESSAGES = [{"role": "user", "content": "Tell me a story"}]
_ENDLESS = {"messages": _MESSAGES, "ignore_eos": True, "n_predict": 30_000}
_TTL_SECONDS = 3600
_DAY = 86_400

# Python imports it first, in the server and in its workers. An administrator or NTP sets the wall
# clock in this way: the monotonic clock goes on.
_JUMPING_CLOCK = """
import datetime, os, time
from pathlib import Path

_file = Path(os.environ["CLOCK_OFFSET_FILE"])
_time, _time_ns, _datetime = time.time, time.time_ns, datetime.datetime

def _offset():
    return int(_file.read_text() or 0)

class _Jumping(_datetime):
    @classmethod
    def now(cls, tz=None):
        return _datetime.now(tz) + datetime.timedelta(seconds=_offset())

time.time = lambda: _time() + _offset()
time.time_ns = lambda: _time_ns() + _offset() * 10**9
datetime.datetime = _Jumping
"""


class _Clock:
    """The wall clock of a server."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "offset"
        self.jump(0)
        (folder / "sitecustomize.py").write_text(_JUMPING_CLOCK)
        paths = f"PYTHONPATH={folder}:{ROOT}"
        self.prefix = ("env", paths, f"CLOCK_OFFSET_FILE={self._file}")

    def jump(self, seconds: int) -> None:
        """Set the clock to the true time and `seconds`."""
        part = self._file.with_suffix(".part")
        part.write_text(str(seconds))
        part.replace(self._file)


@contextmanager
def _server(tmp_path: Path) -> Iterator[tuple[ServerProcess, _Clock]]:
    for name in ("clock", "models"):
        (tmp_path / name).mkdir()
    clock = _Clock(tmp_path / "clock")
    with ServerProcess(
        tmp_path / "models", "--max-queue", "1", "--stall-seconds", "30", prefix=clock.prefix
    ) as server:
        yield server, clock


@pytest.mark.parametrize("seconds", [_DAY, -_DAY], ids=["forward", "back"])
def test_a_jump_changes_timestamps_and_no_timer(tmp_path: Path, seconds: int) -> None:
    with _server(tmp_path) as (server, clock), ExitStack() as stack:
        settings = {"ttl": _TTL_SECONDS, "n_ctx": 32_768, "threads": 1, "n_parallel": 1}
        server.post(_LOAD, settings)
        answer = stack.enter_context(server.open(f"{_CHAT}/stream", _ENDLESS))
        next_event(answer)
        clock.jump(seconds)
        asked = time.time() + seconds
        # The running answer goes on, and nothing is stalled or unloaded.
        for _ in range(20):
            assert "choices" in next_event(answer)
        assert server.get("/health")["status"] == "ok"
        [process] = server.get("/api/ps")["models"]
        left = datetime.fromisoformat(process["expires_at"]) - datetime.now(UTC)
        expected = timedelta(seconds=seconds + _TTL_SECONDS)
        assert abs(left - expected) < timedelta(seconds=600)

        # The queue is full: the time to retry is that of the requests, not of the clock.
        stack.enter_context(server.send_only(_CHAT, _ENDLESS))
        until(
            lambda: server.metrics().sum("llamabind_requests_in_progress") == 2, "a request waits"
        )
        status, error, headers = server.refused(_CHAT, _ENDLESS)
        assert (status, error["code"]) == (429, "queue_full")
        assert 1 <= int(headers["Retry-After"]) <= 120
        stack.close()

        until(lambda: server.metrics().sum("llamabind_requests_in_progress") == 0, "all have gone")
        created = server.post(_CHAT, {"messages": _MESSAGES, "n_predict": 2})["created"]
        assert created >= int(asked)
        assert created - asked < 600
        # A short ttl ends after its seconds, whatever the clock does meanwhile.
        server.post(_LOAD, settings | {"ttl": 2})
        clock.jump(0)
        until(lambda: not server.workers(), "the idle model is unloaded")
        assert server.get("/live") == {"status": "ok"}
