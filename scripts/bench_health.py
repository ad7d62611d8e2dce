"""Compares the latency of /health under load with that of an idle aiohttp app.

    python scripts/bench_health.py [--seconds 20] [--model FILE]

Two phases: first a model is loaded and unloaded without a pause, then 16 SSE streams are read by
another process. In each phase requests to /health and to the idle app alternate, over connections
that stay open. The result is the difference of their 99th percentiles.
"""

import argparse
import asyncio
import http.client
import json
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from aiohttp import web

ROOT = Path(__file__).resolve().parents[1]
STREAMS = 16
PAUSE_SECONDS = 0.005
GOAL_MS = 50.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20.0, help="length of each phase")
    parser.add_argument(
        "--model", type=Path, default=ROOT / "llamabind" / "models" / "tiny-chat.gguf"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, idle_app() as idle_port:
        shutil.copy(arguments.model, folder)
        with server(Path(folder)) as port:
            model = arguments.model.name
            worst = 0.0
            for title, load in (("while a model loads", loads), ("while 16 streams run", streams)):
                with load(port, model):
                    ours, idle = probe(port, idle_port, arguments.seconds)
                worst = max(worst, report(title, ours, idle))
    print(f"goal: at most {GOAL_MS:g} ms above the idle app at p99: {worst:+.1f} ms")
    return int(worst > GOAL_MS)


@contextmanager
def server(folder: Path) -> Iterator[int]:
    """Run our server; yields its port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "server", "--port", "0", "--models-dir", str(folder)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        yield int(line.split("http://")[1].split()[0].rsplit(":", 1)[1])
    finally:
        process.terminate()
        process.wait()


@contextmanager
def idle_app() -> Iterator[int]:
    """Run an aiohttp app that only answers /health, in a process of its own; yields its port."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=_serve_idle, args=(theirs,), daemon=True)
    process.start()
    try:
        yield ours.recv()
    finally:
        process.terminate()
        process.join()


def _serve_idle(pipe: Connection) -> None:
    async def health(_request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def serve() -> None:
        app = web.Application()
        app.add_routes([web.get("/health", health)])
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        pipe.send(runner.addresses[0][1])
        await asyncio.Event().wait()

    asyncio.run(serve())


@contextmanager
def loads(port: int, model: str) -> Iterator[None]:
    """Load and unload the model in a loop."""
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            post(port, f"/api/v2/models/{model}/load", {})
            post(port, f"/api/v2/models/{model}/unload", {})

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextmanager
def streams(port: int, model: str) -> Iterator[None]:
    """Read 16 SSE streams; each client starts a new one when its stream ends."""
    post(port, f"/api/v2/models/{model}/load", {"n_ctx": 32_768, "n_parallel": STREAMS})
    process = multiprocessing.Process(target=_read_streams, args=(port, model), daemon=True)
    process.start()
    # All sequences must run before the first probe.
    while get(port, f"/api/v2/models/{model}")["engine"]["running"] < STREAMS:
        time.sleep(0.05)
    try:
        yield
    finally:
        process.kill()
        process.join()


def _read_streams(port: int, model: str) -> None:
    os.nice(5)
    threads = [threading.Thread(target=_read_stream, args=(port, model)) for _ in range(STREAMS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _read_stream(port: int, model: str) -> None:
    messages = [{"role": "user", "content": "Tell me a story"}]
    body = {"messages": messages, "ignore_eos": True, "n_predict": 1500}
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("POST", f"/api/v2/chat/{model}/stream", json.dumps(body))
        response = connection.getresponse()
        while response.read1(65_536):
            pass
        connection.close()


def probe(port: int, idle_port: int, seconds: float) -> tuple[list[float], list[float]]:
    """Milliseconds that each response took: of our server, of the idle app."""
    connections = [http.client.HTTPConnection("127.0.0.1", each) for each in (port, idle_port)]
    times: tuple[list[float], list[float]] = ([], [])
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for connection, taken in zip(connections, times, strict=True):
            started = time.perf_counter()
            connection.request("GET", "/health")
            response = connection.getresponse()
            response.read()
            taken.append((time.perf_counter() - started) * 1000)
            assert response.status == 200
            time.sleep(PAUSE_SECONDS)
    for connection in connections:
        connection.close()
    return times


def report(title: str, ours: list[float], idle: list[float]) -> float:
    """Print both distributions; returns the difference of the 99th percentiles in ms."""
    for name, times in (("/health", ours), ("idle app", idle)):
        cuts = statistics.quantiles(times, n=100)
        print(
            f"{title}: {name}: {len(times)} probes, p50 {cuts[49]:.1f} ms, p99 {cuts[98]:.1f} ms, "
            f"max {max(times):.1f} ms"
        )
    return statistics.quantiles(ours, n=100)[98] - statistics.quantiles(idle, n=100)[98]


def get(port: int, path: str) -> Any:
    return _request("GET", port, path)


def post(port: int, path: str, body: object) -> Any:
    return _request("POST", port, path, json.dumps(body))


def _request(method: str, port: int, path: str, body: str | None = None) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    connection.request(method, path, body)
    response = connection.getresponse()
    document = json.loads(response.read())
    assert response.status == 200, document
    connection.close()
    return document


if __name__ == "__main__":
    sys.exit(main())
