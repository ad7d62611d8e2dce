"""Times the threads of our server for each token: the HTTP process, and the worker's threads."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from bench.load import Shot, fire
from bench.prompts import user, words
from bench.servers import ServerSettings, our_server

_COMPUTES = 0.5
"""A compute thread spins, so it has at least this fraction of the engine thread's CPU time."""


@dataclass(frozen=True, slots=True)
class ServerTimes:
    """Microseconds of CPU time for a token, in the HTTP process and in the threads of the worker
    that compute nothing; and tokens per second of all requests together.
    """

    http: float
    worker: float
    rate: float


class _Thread(NamedTuple):
    process: int
    thread: int


def time_server(
    model: Path, log: Path, shots: list[Shot], n_ctx: int, n_threads: int | None
) -> ServerTimes:
    """Start our server, send all `shots` at once, and read the CPU time of its threads."""
    settings = ServerSettings(n_ctx=n_ctx, n_parallel=len(shots), threads=n_threads)
    with our_server(model, settings, log) as endpoint:
        fire(endpoint, [Shot((user(words(8, "warm-up")),), 4)])
        servers = {child.pid for child in psutil.Process().children()}
        before = _cpu_seconds()
        results = fire(endpoint, shots)
        after = _cpu_seconds()
    errors = [result.error for result in results if result.error is not None]
    if errors:
        raise SystemExit(f"error: {len(errors)} of {len(shots)} requests failed: {errors[0]}")
    n_tokens = sum(result.n_tokens for result in results)
    seconds = max(r.ended for r in results) - min(r.started for r in results)
    spent = {thread: now - before.get(thread, 0.0) for thread, now in after.items()}
    http, worker = _split(spent, servers)
    return ServerTimes(1e6 * http / n_tokens, 1e6 * worker / n_tokens, n_tokens / seconds)


def make_shots(n: int, n_tokens: int, fields: dict[str, Any], *, is_streamed: bool) -> list[Shot]:
    """Return `n` distinct requests."""
    return [
        Shot(
            (user(words(16, "profile", i)),),
            n_tokens,
            is_streamed=is_streamed,
            fields=tuple(fields.items()),
        )
        for i in range(n)
    ]


def _cpu_seconds() -> dict[_Thread, float]:
    """The CPU time of each thread of this process's children."""
    return {
        _Thread(process.pid, thread.id): _read(process.pid, thread.id)
        for process in psutil.Process().children(recursive=True)
        for thread in process.threads()
    }


def _read(process: int, thread: int) -> float:
    # Documentation/scheduler/sched-stats.rst of Linux: nanoseconds on a core come first.
    return int(Path(f"/proc/{process}/task/{thread}/schedstat").read_text().split()[0]) / 1e9


def _split(spent: dict[_Thread, float], servers: set[int]) -> tuple[float, float]:
    """Return the seconds of the HTTP process, and of the worker without its compute threads.

    `servers` are the ids of HTTP processes; all others are workers.
    """
    http = sum(seconds for thread, seconds in spent.items() if thread.process in servers)
    of_worker = [seconds for thread, seconds in spent.items() if thread.process not in servers]
    most = max(of_worker, default=0.0)
    return http, sum(seconds for seconds in of_worker if seconds < _COMPUTES * most)
