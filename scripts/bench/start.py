"""Measures a start: from the start of a server's process to the first text of an answer."""

import http.client
import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from llama_source import ROOT

from bench.load import RequestResult, Shot
from bench.servers import ServerFailedError, ServerSettings, log_tail, running
from bench.sse import Arrival, read_stream

_SECONDS = 300.0
_POLL_SECONDS = 0.005


@dataclass(frozen=True, slots=True)
class Start:
    """The answer to the first request, counted from the start of the process, and the CPU time of
    the server and its children until they have ended.
    """

    result: RequestResult
    cpu_seconds: float


def our_start_command(
    model: Path, settings: ServerSettings, port: int, *, by_name: bool
) -> list[str]:
    """Start this checkout's server with one model, or with the model's folder if `by_name`."""
    chosen = ["--models-dir", str(model.parent)] if by_name else ["--model", str(model)]
    return [
        *(sys.executable, "-m", "server", "--host", "127.0.0.1", "--port", str(port)),
        *(*chosen, "--no-bundled-model", "--log-level", "warning"),
        *_sizes(settings),
    ]


def peer_start_command(
    binaries: Path, model: Path, settings: ServerSettings, port: int
) -> list[str]:
    """Start llama-server with the model."""
    return [
        *(str(binaries / "llama-server"), "--model", str(model), "--alias", model.name),
        *("--host", "127.0.0.1", "--port", str(port)),
        *_sizes(settings),
    ]


def measure_start(command: list[str], port: int, model: Path, shot: Shot, log: Path) -> Start:
    """Start a server, and send the request again and again until the model answers it."""
    before = _cpu_seconds()
    started = time.perf_counter()
    with running(command, log, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        body = json.dumps(shot.body(model.name, seed=1))
        arrivals = None
        while arrivals is None:
            if process.poll() is not None:
                raise ServerFailedError(f"{command[0]} did not start: {log_tail(log)}")
            if time.perf_counter() - started > _SECONDS:
                raise ServerFailedError(f"{command[0]} did not answer in {_SECONDS:.0f} s")
            arrivals = _ask(port, body)
            if arrivals is None:
                time.sleep(_POLL_SECONDS)
    reading = read_stream(arrivals)
    result = RequestResult(
        started=started,
        ended=arrivals[-1].seconds,
        first_text=reading.text_seconds[0] if reading.text_seconds else None,
        n_tokens=len(reading.text_seconds),
        error=reading.error or (None if reading.text_seconds else "the answer has no text"),
    )
    return Start(result, _cpu_seconds() - before)


def forget_file(path: Path) -> None:
    """Drop the file from the page cache, so that the next load reads it from the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fdatasync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def _sizes(settings: ServerSettings) -> list[str]:
    return ["--ctx-size", str(settings.n_ctx), "--parallel", str(settings.n_parallel)]


def _ask(port: int, body: str) -> list[Arrival] | None:
    """The answer; None if the server does not listen yet or the model is not loaded."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_SECONDS)
    try:
        headers = {"Content-Type": "application/json"}
        connection.request("POST", "/v1/chat/completions", body, headers)
        response = connection.getresponse()
        if response.status != http.HTTPStatus.OK:
            return None
        # Read line by line until the end, which is an empty line of bytes.
        return [Arrival(time.perf_counter(), line) for line in iter(response.readline, b"")]
    except OSError:
        return None
    finally:
        connection.close()


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
