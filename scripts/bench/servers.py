"""Starts the programs that are compared: our server, llama-server and llama-bench."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llama_source import ROOT

from bench.load import Endpoint

BUNDLED = ROOT / "llamabind" / "models" / "tiny-chat.gguf"

_START_SECONDS = 300.0
_STOP_SECONDS = 60.0
_POLL_SECONDS = 0.05
_LOG_TAIL = 2000
# Its lines pass through a thread of llama.cpp's logger, and about every second run loses the last.
_BATCHED_BENCH_TRIES = 8


class ServerFailedError(Exception):
    """A server did not start or refused its settings; the message says why."""


class LayoutMissingError(ServerFailedError):
    """The server did not use the requested KV layout."""


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Settings for either server. `layout` is "unified" or "split"; a setting that is None is left
    to the server.
    """

    n_ctx: int
    n_parallel: int
    layout: str | None = None
    threads: int | None = None
    gpu_layers: int | None = None


@contextmanager
def our_server(
    model: Path,
    settings: ServerSettings,
    log: Path,
    environment: Mapping[str, str] | None = None,
    arguments: Sequence[str] = (),
) -> Iterator[Endpoint]:
    """Start this checkout's server and load the model; `environment` is added to os.environ,
    `arguments` to the command.
    """
    command = [
        *(sys.executable, "-m", "server", "--host", "127.0.0.1", "--port", "0"),
        *("--models-dir", str(model.parent), "--no-bundled-model", "--log-level", "warning"),
        *arguments,
    ]
    variables = {**os.environ, **(environment or {})}
    with running(command, log, cwd=ROOT, env=variables, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        line = process.stdout.readline().decode()
        if "http://" not in line:
            raise ServerFailedError(f"our server did not start: {log_tail(log)}")
        base = "http://" + line.split("http://")[1].split()[0]
        notes = _load(base, model.name, settings)
        yield Endpoint(f"{base}/v1/chat/completions", model.name, notes)


@contextmanager
def peer_server(
    binaries: Path, model: Path, settings: ServerSettings, log: Path
) -> Iterator[Endpoint]:
    """Start llama-server with the model."""
    port = free_port()
    command = [
        *(str(binaries / "llama-server"), "--model", str(model), "--alias", model.name),
        *("--host", "127.0.0.1", "--port", str(port)),
        *("--ctx-size", str(settings.n_ctx), "--parallel", str(settings.n_parallel)),
        *_common_options(settings),
    ]
    if settings.layout is not None:
        command.append("--kv-unified" if settings.layout == "unified" else "--no-kv-unified")
    with running(command, log, stdout=subprocess.DEVNULL) as process:
        base = f"http://127.0.0.1:{port}"
        _await_health(base, process, log)
        yield Endpoint(f"{base}/v1/chat/completions", model.name)


def llama_bench_rate(binaries: Path, model: Path, settings: ServerSettings, n_tokens: int) -> float:
    """llama-bench's decode rate in tokens per second, measured over `n_tokens` tokens."""
    command = [
        *(str(binaries / "llama-bench"), "--model", str(model), "-o", "json"),
        *("--n-prompt", "0", "--n-gen", str(n_tokens), "--repetitions", "1"),
        *_common_options(settings, batch_threads=False),
    ]
    return float(json.loads(_output(command, "llama-bench"))[0]["avg_ts"])


def batched_bench_rate(
    binaries: Path, model: Path, settings: ServerSettings, n_prompt: int, n_tokens: int
) -> float:
    """llama-batched-bench's tokens per second: decodes alone, nothing is sampled."""
    command = [
        *(str(binaries / "llama-batched-bench"), "--model", str(model)),
        *("--ctx-size", str(settings.n_ctx), "-npl", str(settings.n_parallel)),
        *("-npp", str(n_prompt), "-ntg", str(n_tokens), "--output-format", "jsonl"),
        *_common_options(settings),
    ]
    if settings.layout == "unified":
        command.append("--kv-unified")
    for _ in range(_BATCHED_BENCH_TRIES):
        documents = _documents(_output(command, "llama-batched-bench"))
        if documents:
            return float(documents[-1]["speed_tg"])
    raise ServerFailedError(f"llama-batched-bench printed no result {_BATCHED_BENCH_TRIES} times")


def engine_rate(model: Path, settings: ServerSettings, n_prompt: int, n_tokens: int) -> float:
    """Our engine's tokens per second, in a process without a server."""
    command = [
        *(sys.executable, "-m", "stepprofile.rate", str(model), str(settings.n_parallel)),
        *(str(n_prompt), str(n_tokens), str(settings.threads or 0)),
    ]
    return float(_output(command, "our engine"))


def _output(command: list[str], name: str) -> str:
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise ServerFailedError(f"{name} failed: {result.stderr[-_LOG_TAIL:]}")
    return result.stdout


def _documents(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines() if line.startswith("{")]


def load_body(settings: ServerSettings) -> dict[str, Any]:
    """The body of the request that loads the model in our server."""
    chosen = {
        "n_ctx": settings.n_ctx,
        "n_parallel": settings.n_parallel,
        "threads": settings.threads,
        "n_gpu_layers": settings.gpu_layers,
        "kv_unified": None if settings.layout is None else settings.layout == "unified",
    }
    return {name: value for name, value in chosen.items() if value is not None}


def _common_options(settings: ServerSettings, *, batch_threads: bool = True) -> list[str]:
    options = []
    if settings.threads is not None:
        options += ["--threads", str(settings.threads)]
        options += ["--threads-batch", str(settings.threads)] if batch_threads else []
    if settings.gpu_layers is not None:
        n = settings.gpu_layers
        options += ["--n-gpu-layers", str(n if n >= 0 else 999)]
    return options


def _load(base: str, model_id: str, settings: ServerSettings) -> tuple[str, ...]:
    """Load the model; returns a note for each setting whose effective value differs."""
    url = f"{base}/api/v2/models/{urllib.parse.quote(model_id)}/load"
    asked = load_body(settings)
    reply = _post(url, asked)["settings"]
    effective: Mapping[str, Any] = reply["requested"] | reply["effective"]
    if asked.get("kv_unified") is False and effective.get("kv_unified", True):
        raise LayoutMissingError("our server did not split the KV cache")
    return tuple(
        f"requested {name} {value}, effective {effective[name]}"
        for name, value in asked.items()
        if name in effective and effective[name] != value
    )


@contextmanager
def running(command: list[str], log: Path, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server, whose log is appended to `log`; end it afterwards."""
    with log.open("ab") as output:
        process = subprocess.Popen(command, stderr=output, **options)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _await_health(base: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not _is_healthy(base):
        if process.poll() is not None:
            raise ServerFailedError(f"llama-server did not start: {log_tail(log)}")
        if time.monotonic() > deadline:
            raise ServerFailedError(f"llama-server is not ready after {_START_SECONDS:.0f} s")
        time.sleep(_POLL_SECONDS)


def _is_healthy(base: str) -> bool:
    try:
        with urllib.request.urlopen(f"{base}/health", timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def _post(url: str, body: dict[str, Any]) -> Any:
    data = json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=_START_SECONDS) as response:
            return json.loads(response.read())
    except urllib.error.HTTPError as error:
        text = error.read().decode(errors="replace")
        raise ServerFailedError(f"our server refused the load: {text}") from None


def free_port() -> int:
    """A port that no program listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def log_tail(log: Path) -> str:
    """The end of a log."""
    return log.read_bytes()[-_LOG_TAIL:].decode(errors="replace") or f"{os.fspath(log)} is empty"
