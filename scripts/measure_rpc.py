"""Measures what RPC costs for each token: python scripts/measure_rpc.py [--model FILE] [--tokens N]

A model computes one answer on this machine's CPU, and with its layers on one and on two
`llamabind rpc-server` on the loopback device, each with one thread. Prints, per token, the wall
time and the processor time of all processes together (medians of alternating runs), and the ratios
to the local run. The local run and the run with one server differ by the cost of the protocol; a
network adds its own latency, once for each server and token.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import psutil

_MODEL: Final = Path(__file__).resolve().parents[1] / "llamabind" / "models" / "tiny-chat.gguf"
_NAMES: Final = ("local", "one server", "two servers")
_PROMPT: Final = "A story about a machine that lends its memory to another one"


class Server:
    """`llamabind rpc-server` on a free port."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "llamabind", "rpc-server", "--device", "CPU"]
        self._process = subprocess.Popen(
            [*command, "--threads", "1", "--port", "0"], stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.address = self._process.stdout.readline().split("listens on ")[1].split(",")[0]

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.communicate()

    def cpu_seconds(self) -> float:
        """The processor time of all its processes."""
        parent = psutil.Process(self._process.pid)
        times = [one.cpu_times() for one in (parent, *parent.children(recursive=True))]
        return sum(each.user + each.system for each in times)


def _measure(options: argparse.Namespace, n_servers: int) -> tuple[float, float]:
    """Milliseconds of wall time and of processor time for each token."""
    with ExitStack() as stack:
        servers = [stack.enter_context(Server()) for _ in range(n_servers)]
        command = [sys.executable, __file__, "--model", str(options.model)]
        command += ["--tokens", str(options.tokens)]
        command += ["--rpc", ",".join(server.address for server in servers)]
        child = stack.enter_context(
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        )
        assert child.stdin is not None
        assert child.stdout is not None
        if not child.stdout.readline():
            raise SystemExit("the model could not be loaded; the message is above")
        before = sum(server.cpu_seconds() for server in servers)
        child.stdin.write("go\n")
        child.stdin.flush()
        result = json.loads(child.stdout.readline())
        cpu = result["cpu"] + sum(server.cpu_seconds() for server in servers) - before
        child.stdin.close()
    return 1e3 * result["wall"] / result["tokens"], 1e3 * cpu / result["tokens"]


def _generate(options: argparse.Namespace) -> None:
    """In a process of its own: load, wait for a line, generate, and print the times."""
    from llamabind import LLM, EngineConfig, ModelParams, SamplingParams, add_rpc_servers

    addresses = tuple(filter(None, options.rpc.split(",")))
    if addresses:
        add_rpc_servers(addresses)
    sampling = SamplingParams(temperature=0, ignore_eos=True)
    with LLM(
        options.model,
        model_params=ModelParams(n_gpu_layers=999 if addresses else 0),
        config=EngineConfig(n_ctx=2048, n_parallel=1, n_threads=1, speculative="off"),
    ) as llm:
        llm.generate(_PROMPT, sampling, max_tokens=8)
        print("loaded", flush=True)
        sys.stdin.readline()
        wall, cpu = time.perf_counter(), time.process_time()
        answer = llm.generate(_PROMPT, sampling, max_tokens=options.tokens)
        times: dict[str, Any] = {
            "wall": time.perf_counter() - wall,
            "cpu": time.process_time() - cpu,
            "tokens": answer.usage.completion_tokens,
        }
        print(json.dumps(times), flush=True)
        sys.stdin.readline()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=_MODEL)
    parser.add_argument("--tokens", type=int, default=200, help="tokens of an answer")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rpc", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.rpc is not None:
        _generate(options)
        return
    found: list[list[tuple[float, float]]] = [[], [], []]
    for _ in range(options.rounds):
        for n_servers, figures in enumerate(found):
            figures.append(_measure(options, n_servers))
    print(f"{options.model.name}: medians of {options.rounds} runs of {options.tokens} tokens")
    local = [statistics.median(column) for column in zip(*found[0], strict=True)]
    for name, figures in zip(_NAMES, found, strict=True):
        wall, cpu = (statistics.median(column) for column in zip(*figures, strict=True))
        print(
            f"{name:12} {wall:8.2f} ms per token ({wall / local[0]:.2f}), "
            f"processor time {cpu:8.2f} ms ({cpu / local[1]:.2f})"
        )


if __name__ == "__main__":
    main()
