"""Measures the latency of /live while small bodies arrive that unpack to gigabytes.

    .venv/bin/python scripts/attack_bodies.py [--bodies 4] [--gigabytes 3] [--key]

Starts a server without a model. With --key the server requires an API key and the bodies carry a
wrong one. Prints the responses, the latency of /live before and during the attack, and the memory.
"""

import argparse
import http.client
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from pathlib import Path

import psutil

_ROOT = Path(__file__).parents[1]


def bomb(n_gigabytes: int) -> bytes:
    compressor = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    pieces = [
        compressor.compress(b" " * (1 << 20)) + compressor.flush(zlib.Z_FULL_FLUSH)
        for _ in range(2)
    ]
    return pieces[0] + pieces[1] * (1024 * n_gigabytes - 1)


def post(port: int, body: bytes, answers: list[str]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    headers = {"Content-Encoding": "gzip", "Authorization": "Bearer wrong"}
    try:
        connection.request("POST", "/v1/chat/completions", body, headers)
        answers.append(str(connection.getresponse().status))
    except OSError as error:
        answers.append(type(error).__name__)
    finally:
        connection.close()


def probe(port: int, seconds: float) -> list[float]:
    """Latencies of /live in milliseconds, of requests sent one after the other."""
    latencies = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        begun = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("GET", "/live")
        assert connection.getresponse().read()
        connection.close()
        latencies.append((time.monotonic() - begun) * 1000)
        time.sleep(0.005)
    return latencies


def print_latencies(name: str, latencies: list[float]) -> None:
    worst = sorted(latencies)
    p99 = worst[int(len(worst) * 0.99) - 1]
    print(
        f"/live {name}: {len(worst)} requests, median {statistics.median(worst):.1f} ms, "
        f"99 % {p99:.1f} ms, longest {worst[-1]:.1f} ms"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bodies", type=int, default=4)
    parser.add_argument("--gigabytes", type=int, default=3)
    parser.add_argument("--key", action="store_true")
    options = parser.parse_args()
    body = bomb(options.gigabytes)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "server", "--port", "0", "--models-dir", folder]
        command += ["--api-key", "right"] if options.key else []
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=_ROOT
        )
        assert process.stdout is not None
        port = int(process.stdout.readline().split("http://")[1].split()[0].rsplit(":", 1)[1])
        try:
            attack(port, psutil.Process(process.pid), body, options.bodies)
        finally:
            process.terminate()
            process.wait(30)


def attack(port: int, process: psutil.Process, body: bytes, n_bodies: int) -> None:
    print_latencies("before", probe(port, 2.0))
    before, cpu = process.memory_info().rss, sum(process.cpu_times()[:2])
    answers: list[str] = []
    senders = [threading.Thread(target=post, args=(port, body, answers)) for _ in range(n_bodies)]
    for sender in senders:
        sender.start()
    print_latencies("during", probe(port, 5.0))
    for sender in senders:
        sender.join()
    peak = Path(f"/proc/{process.pid}/status").read_text().split("VmHWM:")[1].split()[0]
    print(f"{n_bodies} bodies of {len(body) >> 10} kB were answered {', '.join(answers)}")
    print(f"memory grew by at most {(int(peak) << 10) - before >> 20} MB")
    print(f"the server's CPU time meanwhile: {sum(process.cpu_times()[:2]) - cpu:.2f} s")


if __name__ == "__main__":
    main()
