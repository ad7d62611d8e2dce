"""Measures a cluster of replicas on this machine: python scripts/measure_cluster.py [PART...]

Parts: throughput, prefix, first-byte, cost, lost, scale; all by default. Starts one local Ray with
one thread a replica and the bundled model, whose answers are cheap: the figures show what the
cluster adds. With a larger model `--model FILE` shows what replicas win. Each figure is the median
of alternating runs. Needs the extra `cluster`.
"""

import argparse
import http.client
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import psutil

_MODEL: Final = Path(__file__).resolve().parents[1] / "llamabind" / "models" / "tiny-chat.gguf"
_ROUNDS: Final = 5
_CLIENTS: Final = 8
_WORDS: Final = ("amber", "basil", "cedar", "delta", "ember", "fjord", "grove", "heron")

_FILE: Final = """
port = {port}
ingress_cpus = 0.1
{models}
"""
_ENTRY: Final = """
[[models]]
name = "{name}"
model = "{folder}/{name}.gguf"
cpus = 1
n_parallel = {n_parallel}
n_ctx = 32768
router = "{router}"
{replicas}
"""
# Name, slots of a replica, router, replicas.
_MODELS: Final = (
    ("one", 4, "prefix", "replicas = 1"),
    ("two", 4, "prefix", "replicas = 2"),
    ("chance", 4, "pow2", "replicas = 2"),
    (
        "scale",
        1,
        "pow2",
        "autoscale = { min = 1, max = 3, upscale_delay = 2, downscale_delay = 5 }",
    ),
)


class Target:
    """An HTTP address: the cluster's, or a server's."""

    def __init__(self, port: int) -> None:
        self.port = port

    def post(self, path: str, body: Any) -> tuple[int, dict[str, str], bytes, float]:
        """Status, headers, body, and the seconds to the first byte of the body."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)) as connection:
            begin = time.perf_counter()
            connection.request("POST", path, json.dumps(body))
            response = connection.getresponse()
            first = response.read(1)
            seconds = time.perf_counter() - begin
            headers = {name.lower(): value for name, value in response.getheaders()}
            return response.status, headers, first + response.read(), seconds

    def chat(self, model: str, messages: Any, **more: Any) -> Any:
        """The document of a chat, which must succeed."""
        body = {"model": model, "messages": messages, "temperature": 0, "ignore_eos": True} | more
        status, _, raw, _ = self.post("/v1/chat/completions", body)
        assert status == 200, raw
        return json.loads(raw)

    def replicas(self, model: str) -> set[str]:
        """The names of a model's replicas."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
        found = re.findall(r'llamabind_model_state\{replica="([^"]+)"', text)
        return {name for name in found if name.startswith(f"{model}-")}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _started(*command: str, ready: str) -> Iterator[psutil.Process]:
    log = Path(tempfile.gettempdir()) / "measure_cluster.log"
    with log.open("ab") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", *command], stdout=subprocess.PIPE, stderr=stderr, text=True
        )
    assert process.stdout is not None
    try:
        if not any(ready in line for line in iter(process.stdout.readline, "")):
            raise SystemExit(f"{' '.join(command)} has ended; {log} says why")
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def _user(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def _tokens_per_second(target: Target, model: str) -> float:
    """Generated tokens a second with 8 clients, each of which sends 3 requests of 128 tokens."""

    def ask(client: int) -> None:
        for turn in range(3):
            target.chat(model, _user(f"{_WORDS[client]} {turn}"), max_tokens=128)

    begin = time.perf_counter()
    with ThreadPoolExecutor(_CLIENTS) as pool:
        list(pool.map(ask, range(_CLIENTS)))
    return _CLIENTS * 3 * 128 / (time.perf_counter() - begin)


def throughput(target: Target, _: psutil.Process) -> None:
    """Two replicas against one."""
    runs = [(_tokens_per_second(target, "one"), _tokens_per_second(target, "two"))
            for _ in range(_ROUNDS)]  # fmt: skip
    ratio = statistics.median(two / one for one, two in runs)
    one, two = (statistics.median(values) for values in zip(*runs, strict=True))
    print(f"throughput: one replica {one:.0f} tokens/s, two {two:.0f}; ratio {ratio:.2f}")


def prefix(target: Target, _: psutil.Process) -> None:
    """50 conversations of 4 turns, routed by prefix and by chance."""
    for model in ("two", "chance"):
        cached = total = 0

        def talk(number: int, model: str = model) -> tuple[int, int]:
            messages = _user(f"{model} {number}: " + f"{_WORDS[number % 8]}{number} " * 40)
            n_cached = n_total = 0
            for turn in range(4):
                answer = target.chat(model, messages, max_tokens=16)
                usage = answer["usage"]
                if turn:
                    n_cached += usage["prompt_tokens_details"]["cached_tokens"]
                    n_total += usage["prompt_tokens"]
                text = answer["choices"][0]["message"]["content"]
                messages = [*messages, {"role": "assistant", "content": text}, *_user("And then?")]
            return n_cached, n_total

        with ThreadPoolExecutor(4) as pool:
            for n_cached, n_total in pool.map(talk, range(50)):
                cached, total = cached + n_cached, total + n_total
        print(f"prefix: {model}: {cached / total:.0%} of the prompt tokens after a conversation's "
              "first turn are in the KV cache")  # fmt: skip


def first_byte(target: Target, _: psutil.Process) -> None:
    """Seconds to the first byte through the ingress, and of a server alone."""
    folder = str(_MODEL.parent)
    with _started(
        "server", "--port", "0", "--models-dir", folder, "--threads", "1", ready="http://"
    ) as server:
        [port] = {one.laddr.port for one in server.net_connections() if one.status == "LISTEN"}
        alone = Target(port)
        body = {"messages": _user("hello"), "max_tokens": 8, "stream": True, "temperature": 0}
        times: dict[str, list[float]] = {"alone": [], "cluster": []}
        for index in range(60):
            for name, at, model in (("alone", alone, _MODEL.name), ("cluster", target, "one")):
                status, _headers, raw, seconds = at.post(
                    "/v1/chat/completions", body | {"model": model}
                )
                assert status == 200, raw
                if index >= 10:
                    times[name].append(seconds * 1000)
    for name, measured in times.items():
        values = sorted(measured)
        print(f"first byte: {name}: median {statistics.median(values):.1f} ms, "
              f"90 % within {values[int(len(values) * 0.9)]:.1f} ms")  # fmt: skip
    added = statistics.median(
        after - before for before, after in zip(times["alone"], times["cluster"], strict=True)
    )
    print(f"first byte: the cluster adds {added:.1f} ms (median of the differences)")


def cost(target: Target, up: psutil.Process) -> None:
    """Processor time of the proxy, the ingress and the prefix tree for each request."""
    parts = {
        "proxy": "ProxyActor",
        "ingress": "ServeReplica:llamabind:ingress",
        "prefix trees": "PrefixTreeActor",
        "replicas": "ServeReplica:llamabind:model-two",
    }

    def used() -> dict[str, float]:
        seconds = dict.fromkeys(parts, 0.0)
        for process in up.children(recursive=True):
            with suppress(psutil.Error):
                for part, word in parts.items():
                    if word in " ".join(process.cmdline()):
                        seconds[part] += sum(process.cpu_times()[:2])
        return seconds

    n_requests, n_tokens = 200, 32
    for stream in (False, True):
        before = used()

        def ask(number: int, stream: bool = stream) -> None:
            body = {"model": "two", "messages": _user(f"{number} hello"), "max_tokens": n_tokens,
                    "ignore_eos": True, "stream": stream}  # fmt: skip
            status, _, raw, _ = target.post("/v1/chat/completions", body)
            assert status == 200, raw

        with ThreadPoolExecutor(_CLIENTS) as pool:
            list(pool.map(ask, range(n_requests)))
        after = used()
        kind = f"a stream of {n_tokens} tokens" if stream else "an answer in one piece"
        shares = ", ".join(
            f"{part} {(after[part] - before[part]) / n_requests * 1000:.1f} ms" for part in parts
        )
        print(f"cost of {kind}: {shares} of one core")


def _servers_of(up: psutil.Process, model: str) -> list[psutil.Process]:
    found = []
    for process in up.children(recursive=True):
        with suppress(psutil.Error):
            words = process.cmdline()
            if "--alias" in words and words[words.index("--alias") + 1] == model:
                found.append(process)
    return found


def lost(target: Target, up: psutil.Process) -> None:
    """A replica's server is killed while 8 clients stream."""
    outcomes: list[str] = []
    done = threading.Event()

    def ask(client: int) -> None:
        turn = 0
        while not done.is_set():
            turn += 1
            body = {"model": "two", "messages": _user(f"{_WORDS[client]} {turn}"), "stream": True,
                    "max_tokens": 400, "ignore_eos": True}  # fmt: skip
            status, headers, raw, _ = target.post("/v1/chat/completions", body)
            whole = raw.endswith(b"data: [DONE]\n\n")
            lost = b"replica_lost" in raw
            outcomes.append("whole" if whole else "error event" if lost else f"broken {status}")
            assert headers

    with ThreadPoolExecutor(_CLIENTS) as pool:
        asking = [pool.submit(ask, client) for client in range(_CLIENTS)]
        time.sleep(5)
        _servers_of(up, "two")[0].kill()
        time.sleep(10)
        done.set()
        for one in asking:
            one.result()
    counts = {kind: outcomes.count(kind) for kind in sorted(set(outcomes))}
    print(f"lost replica: {len(outcomes)} requests: {counts}")


def scale(target: Target, _: psutil.Process) -> None:
    """From 1 replica to 3 under load, and back."""
    done = threading.Event()

    def ask(client: int) -> None:
        while not done.is_set():
            target.chat("scale", _user(_WORDS[client]), max_tokens=200)

    def seconds_until(n: int) -> float:
        begin = time.perf_counter()
        while len(target.replicas("scale")) != n:
            time.sleep(0.5)
        return time.perf_counter() - begin

    seconds_until(1)
    with ThreadPoolExecutor(_CLIENTS) as pool:
        asking = [pool.submit(ask, client) for client in range(_CLIENTS)]
        up = seconds_until(3)
        done.set()
        for one in asking:
            one.result()
    print(f"scale: 1 to 3 replicas in {up:.0f} s, back to 1 in {seconds_until(1):.0f} s "
          "(delays of 2 and 5 s)")  # fmt: skip


_PARTS: Final[dict[str, Callable[[Target, psutil.Process], None]]] = {
    "throughput": throughput,
    "prefix": prefix,
    "first-byte": first_byte,
    "cost": cost,
    "lost": lost,
    "scale": scale,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(_PARTS))
    parser.add_argument(
        "--model", type=Path, default=_MODEL, metavar="FILE",
        help="GGUF file with a chat template; first-byte needs the bundled model",
    )  # fmt: skip
    arguments = parser.parse_args()
    chosen = arguments.parts or list(_PARTS)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        entries = []
        for model, n_parallel, router, replicas in _MODELS:
            shutil.copy(arguments.model, folder / f"{model}.gguf")
            entries.append(_ENTRY.format(name=model, folder=folder, n_parallel=n_parallel,
                                         router=router, replicas=replicas))  # fmt: skip
        port = _free_port()
        file = folder / "cluster.toml"
        file.write_text(_FILE.format(port=port, models="".join(entries)))
        begin = time.perf_counter()
        with _started("server.command", "cluster", "up", str(file), ready="serves") as up:
            print(f"start: {time.perf_counter() - begin:.0f} s; load {os.getloadavg()[0]:.1f} on "
                  f"{os.cpu_count()} cores", flush=True)  # fmt: skip
            for part in chosen:
                _PARTS[part](Target(port), up)
                sys.stdout.flush()


if __name__ == "__main__":
    main()
