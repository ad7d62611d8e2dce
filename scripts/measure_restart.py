#!/usr/bin/env python3
"""Measures what `--cache-dir` saves after a restart: `scripts/measure_restart.py [MODEL]`.

First a server with an empty folder answers a question about a long system prompt (cold). Each round
then starts the server twice, and asks two questions each time, right after the load and after a few
idle seconds: the first one needs the prompt from the files, for the second one it is in the KV
cache (warm). The times are those from the request to the first text; the prompt tokens that were
reused are printed too. Without MODEL the script makes a random model in the shape of SmolLM2-135M
(scripts/make_random_model.py).
"""

import argparse
import json
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


def measure(
    model: Path, n_tokens: int, folder: Path, n_rounds: int
) -> Iterator[tuple[str, float, int]]:
    """Yield the case, the seconds and the cached tokens of each request."""
    prompt = words(n_tokens, "restart")
    n_ctx = n_tokens + 1024

    def timed(endpoint: Endpoint, case: str, number: int) -> tuple[str, float, int]:
        seconds, n_cached, n_prompt = ask(endpoint, prompt, f"{case} {words(8, case, number)}")
        print(f"round {number}, {case}: {seconds:.3f} s, {n_cached} of {n_prompt}", flush=True)
        return case, seconds, n_cached

    with server(model, n_ctx, folder) as endpoint:
        yield timed(endpoint, "cold", 0)
    for number in range(n_rounds):
        for case, pause in (("restarted", 0.0), ("restarted, idle", IDLE_SECONDS)):
            with server(model, n_ctx, folder) as endpoint:
                time.sleep(pause)
                yield timed(endpoint, case, number)
                yield timed(endpoint, f"warm after {case}", number)


def main() -> int:
    """Print each request, then medians, and the medians of the ratios to the warm requests."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", type=Path, help="GGUF file; default: a random model")
    parser.add_argument("--tokens", type=int, default=10_000, help="length of the system prompt")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    model = (arguments.model or random_model("135m")).absolute()
    found: dict[str, list[tuple[float, int]]] = {}
    with tempfile.TemporaryDirectory(prefix="restart-") as name:
        for case, seconds, n_cached in measure(
            model, arguments.tokens, Path(name), arguments.rounds
        ):
            found.setdefault(case, []).append((seconds, n_cached))
    for case, results in found.items():
        seconds = statistics.median(seconds for seconds, _ in results)
        n_cached = min(n_cached for _, n_cached in results)
        line = f"{case:28}{seconds:8.3f} s {n_cached:8} cached tokens"
        if warm := found.get(f"warm after {case}"):
            pairs = zip(results, warm, strict=True)
            ratio = statistics.median(first[0] / second[0] for first, second in pairs)
            line += f" {ratio:8.2f} times warm"
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
