#!/usr/bin/env python3
"""Measures what `--cache-dir` saves after a restart: `scripts/measure_restart.py [MODEL]`.

Each round asks questions about one long system prompt: to a server with an empty folder (cold),
again to the same server (warm), to the next server right after its load, and to one that has been
idle for a few seconds after its load. The times are those from the request to the first text; the
prompt tokens that were reused are printed too. Without MODEL the script makes a random model in the
shape of SmolLM2-135M (scripts/make_random_model.py).
"""

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.load import Endpoint
from bench.prompts import system, user, words
from bench.servers import ServerSettings, our_server
from bench.sse import Arrival, read_stream
from make_random_model import random_model

IDLE_SECONDS = 3.0
N_ANSWER = 4


@contextmanager
def server(model: Path, n_ctx: int, folder: Path) -> Iterator[Endpoint]:
    """A server that keeps prompts in the folder, with the model loaded."""
    settings = ServerSettings(n_ctx=n_ctx, n_parallel=4)
    flags = ("--cache-dir", str(folder / "cache"))
    with our_server(model, settings, folder / "log", arguments=flags) as endpoint:
        yield endpoint


def ask(endpoint: Endpoint, prompt: str, question: str) -> tuple[float, int, int]:
    """The seconds to the first text, and how many of the prompt's tokens were cached."""
    body = {
        "model": endpoint.model,
        "messages": [system(prompt), user(question)],
        "max_tokens": N_ANSWER,
        "stream": True,
        "stream_options": {"include_usage": True},
        "ignore_eos": True,
    }
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(endpoint.url, json.dumps(body).encode(), headers)
    started = time.perf_counter()
    with urllib.request.urlopen(request) as response:
        arrivals = [Arrival(time.perf_counter(), line) for line in iter(response.readline, b"")]
    reading = read_stream(arrivals)
    if reading.error or not reading.text_seconds:
        raise RuntimeError(reading.error or "the answer has no text")
    cached = reading.usage["prompt_tokens_details"]["cached_tokens"]
    return reading.text_seconds[0] - started, cached, reading.usage["prompt_tokens"]


def measure(model: Path, n_tokens: int, folder: Path, number: int) -> dict[str, tuple[float, int]]:
    """One round, with a system prompt of its own: seconds and cached tokens of each case."""
    prompt = words(n_tokens, "restart", number)
    n_ctx = n_tokens + 1024
    found = {}
    with server(model, n_ctx, folder) as endpoint:
        for name in ("cold", "warm"):
            seconds, cached, n_prompt = ask(endpoint, prompt, f"{name} {words(8, name, number)}")
            found[name] = (seconds, cached)
            print(f"round {number}, {name}: {seconds:.3f} s, {cached} of {n_prompt}", flush=True)
    for name, pause in (("restarted", 0.0), ("restarted and idle", IDLE_SECONDS)):
        with server(model, n_ctx, folder) as endpoint:
            time.sleep(pause)
            seconds, cached, n_prompt = ask(endpoint, prompt, f"{name} {words(8, name, number)}")
            found[name] = (seconds, cached)
            print(f"round {number}, {name}: {seconds:.3f} s, {cached} of {n_prompt}", flush=True)
    return found


def main() -> int:
    """Print each request, then medians and their ratios to the warm one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", type=Path, help="GGUF file; default: a random model")
    parser.add_argument("--tokens", type=int, default=10_000, help="length of the system prompt")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    model = (arguments.model or random_model("135m")).absolute()
    rounds = []
    with tempfile.TemporaryDirectory(prefix="restart-") as name:
        folder = Path(name)
        for number in range(arguments.rounds):
            rounds.append(measure(model, arguments.tokens, folder, number))
            shutil.rmtree(folder / "cache")
    warm = statistics.median(found["warm"][0] for found in rounds)
    for case in rounds[0]:
        seconds = statistics.median(found[case][0] for found in rounds)
        cached = statistics.median(found[case][1] for found in rounds)
        ratio = statistics.median(found[case][0] / found["warm"][0] for found in rounds)
        print(f"{case:20}{seconds:8.3f} s {cached:8.0f} cached tokens {ratio:8.2f} times warm")
    return 0 if warm > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
