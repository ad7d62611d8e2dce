"""Downloads 1 GB from a hub on loopback: `python scripts/measure_download.py [--mb N]`.

Prints the memory that the server and its download process take meanwhile, how long /live takes,
the speed, and whether the file is bit-equal. Exits with 1 where a bar is missed: 100 MB of memory
beside what the idle server has, 50 ms for /live (99th percentile). The hub and the cache are made
for this and removed afterwards.
"""

import argparse
import hashlib
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parent.parent
MEMORY_MB = 100
LIVE_MS = 50
REPO, FILE = "fake/big-GGUF", "big-Q8_0.gguf"


class Watch:
    """Samples the memory of the server and its children, and times GET /live, until it is ended."""

    def __init__(self, process: psutil.Process, port: int) -> None:
        self.peak_mb = 0.0
        self.live_ms: list[float] = []
        self._process = process
        self._port = port
        self._has_ended = threading.Event()
        self._threads = [threading.Thread(target=run) for run in (self._sample, self._ask)]

    def __enter__(self) -> "Watch":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._has_ended.set()
        for thread in self._threads:
            thread.join()

    def _sample(self) -> None:
        while not self._has_ended.wait(0.05):
            self.peak_mb = max(self.peak_mb, resident_mb(self._process))

    def _ask(self) -> None:
        with closing(http.client.HTTPConnection("127.0.0.1", self._port)) as connection:
            while not self._has_ended.wait(0.01):
                began = time.perf_counter()
                connection.request("GET", "/live")
                connection.getresponse().read()
                self.live_ms.append(1e3 * (time.perf_counter() - began))


def resident_mb(process: psutil.Process) -> float:
    """Memory of the server and its children, without pages that they share with each other."""
    total = 0
    for one in (process, *process.children(recursive=True)):
        try:
            info = one.memory_full_info()
        except psutil.Error:
            continue
        total += info.uss
    return total / 2**20


@contextmanager
def started(command: list[str], **variables: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process of its own, and the first line that it prints."""
    environment = os.environ | variables
    for name in ("LLAMA_CACHE", "HF_TOKEN"):
        environment.pop(name, None)
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
        env=environment,
    )
    assert process.stdout is not None
    try:
        yield process, process.stdout.readline()
    finally:
        process.terminate()
        process.wait()


def request(port: int, method: str, path: str, body: Any = None) -> Any:
    """The JSON answer of the server."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=120)) as connection:
        connection.request(method, path, body=json.dumps(body) if body else None)
        return json.loads(connection.getresponse().read())


def sha256_of(hub_port: int) -> str:
    """The hub's checksum of the file, which it computes now: that takes some seconds."""
    info = request(hub_port, "GET", f"/api/models/{REPO}?blobs=1")
    (found,) = (one for one in info["siblings"] if one["rfilename"] == FILE)
    return str(found["lfs"]["sha256"])


def measure(size_mb: int) -> bool:
    """Download a file of this size; prints the figures, and returns whether all bars are kept."""
    hub_command = ["tests.support.fake_hub", "--big-mb", str(size_mb)]
    with (
        tempfile.TemporaryDirectory() as name,
        started(hub_command) as (_, hub_line),
        started(
            ["server", "--port", "0", "--models-dir", f"{name}/models"],
            HF_ENDPOINT=hub_line.strip().partition("=")[2],
            HF_HUB_CACHE=f"{name}/cache",
            HF_HOME=f"{name}/home",
        ) as (child, line),
    ):
        sha256 = sha256_of(int(hub_line.rsplit(":", 1)[1]))
        print(f"the hub has a file of {size_mb:,} MB with SHA-256 {sha256}")
        process = psutil.Process(child.pid)
        port = int(line.split("http://")[1].split()[0].rsplit(":", 1)[1])
        request(port, "GET", "/api/v2/models")
        idle_mb = resident_mb(process)
        with Watch(process, port) as before:
            time.sleep(5)
        began = time.monotonic()
        with Watch(process, port) as watch:
            download = request(port, "POST", "/api/v2/downloads", {"model": f"{REPO}:Q8_0"})
            while download["state"] in ("queued", "running"):
                time.sleep(0.2)
                download = request(port, "GET", f"/api/v2/downloads/{download['id']}")
        seconds = time.monotonic() - began
        assert download["state"] == "completed", download
        (link,) = Path(name, "cache").glob("*/snapshots/*/" + FILE)
        with link.open("rb") as data:
            is_equal = hashlib.file_digest(data, "sha256").hexdigest() == sha256
    more_mb = watch.peak_mb - idle_mb
    p99, p99_before = (_p99(one.live_ms) for one in (watch, before))
    print(f"bit-equal: {is_equal}")
    print(f"time: {seconds:.1f} s, {size_mb / seconds:.0f} MB/s with both ends on this machine")
    print(
        f"memory: {watch.peak_mb:.0f} MB at most, {idle_mb:.0f} MB idle, so {more_mb:.0f} MB more"
    )
    print(
        f"/live: p99 {p99:.1f} ms of {len(watch.live_ms)}, {p99_before:.1f} ms before the download"
    )
    return is_equal and more_mb < MEMORY_MB and p99 < LIVE_MS


def _p99(values: list[float]) -> float:
    return statistics.quantiles(values, n=100)[98]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mb", type=int, default=1024, help="size of the file (default: 1024)")
    return 0 if measure(parser.parse_args().mb) else 1


if __name__ == "__main__":
    sys.exit(main())
