"""Measures the server's memory and latency while clients do not read, and during large answers.

    .venv/bin/python scripts/attack_memory.py [--readers 150] [--answers 128]

Starts a server with the bundled model. First `--readers` clients open streams with 20
log-probabilities for each token and read nothing; then one client reads a stream of `--answers`
answers with 256 log-probabilities for each token; then one asks for the same in one piece. Prints
the server's memory before, at most during and after each, and the latency of /live and /health.
"""

import argparse
import http.client
import json
import socket
import subprocess
import sys
import tempfile
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import psutil

_ROOT = Path(__file__).parents[1]
_MODEL = "tiny-chat.gguf"


class Watch:
    """Samples the memory of a process and the latency of two paths while the block runs."""

    def __init__(self, name: str, port: int, process: psutil.Process) -> None:
        self._name = name
        self._port = port
        self._process = process
        self._ended = threading.Event()
        self._most = 0
        self._latencies: dict[str, list[float]] = {"/live": [], "/health": []}
        self._threads = [
            threading.Thread(target=self._sample),
            *(threading.Thread(target=self._probe, args=(path,)) for path in self._latencies),
        ]

    def __enter__(self) -> None:
        self._before = self._process.memory_info().rss
        for thread in self._threads:
            thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()
        time.sleep(5.0)
        after = self._process.memory_info().rss
        print(
            f"{self._name}: {self._before >> 20} MB before, at most {self._most >> 20} MB, "
            f"{after >> 20} MB after"
        )
        for path, values in self._latencies.items():
            worst = sorted(values)
            p99 = worst[max(0, int(len(worst) * 0.99) - 1)]
            print(f"  {path}: {len(worst)} requests, 99 % {p99:.1f} ms, longest {worst[-1]:.1f} ms")

    def _sample(self) -> None:
        while not self._ended.wait(0.02):
            self._most = max(self._most, self._process.memory_info().rss)

    def _probe(self, path: str) -> None:
        while not self._ended.wait(0.02):
            begun = time.monotonic()
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
            connection.request("GET", path)
            connection.getresponse().read()
            connection.close()
            self._latencies[path].append(1e3 * (time.monotonic() - begun))


def chat(**fields: Any) -> bytes:
    body = {
        "model": _MODEL,
        "messages": [{"role": "user", "content": "Tell me a story"}],
        "ignore_eos": True,
        "logprobs": True,
        **fields,
    }
    return json.dumps(body).encode()


def open_chat(port: int, body: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=600)
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    connection.sendall(head.encode() + body)
    return connection


def read_chat(port: int, body: bytes) -> None:
    connection = open_chat(port, body)
    n_bytes, status = 0, b""
    while data := connection.recv(1 << 20):
        status = status or data[:12]
        n_bytes += len(data)
    connection.close()
    print(f"  {status.decode()}, {n_bytes >> 10} kB")


def read_nothing(port: int, n_readers: int, seconds: float) -> None:
    body = chat(stream=True, max_tokens=3000, top_logprobs=20)
    readers = [open_chat(port, body) for _ in range(n_readers)]
    time.sleep(seconds)
    for reader in readers:
        reader.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--readers", type=int, default=150)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--answers", type=int, default=128)
    parser.add_argument("--tokens", type=int, default=24)
    options = parser.parse_args()
    wide = {"n": options.answers, "max_tokens": options.tokens, "top_logprobs": 256}
    nothing = partial(read_nothing, n_readers=options.readers, seconds=options.seconds)
    attacks = {
        "no attack": partial(read_nothing, n_readers=0, seconds=10.0),
        "readers that read nothing": nothing,
        "a stream of many answers": partial(read_chat, body=chat(stream=True, **wide)),
        "many answers in one piece": partial(read_chat, body=chat(**wide)),
    }
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "server", "--port", "0", "--models-dir", folder]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=_ROOT
        )
        assert process.stdout is not None
        port = int(process.stdout.readline().split("http://")[1].split()[0].rsplit(":", 1)[1])
        try:
            read_chat(port, chat(max_tokens=4, top_logprobs=1))
            for name, attack in attacks.items():
                with Watch(name, port, psutil.Process(process.pid)):
                    attack(port)
        finally:
            process.terminate()
            process.wait(30)


if __name__ == "__main__":
    main()
