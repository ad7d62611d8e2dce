#!/usr/bin/env python3
"""Measures the latency of the next turn of an old conversation: `scripts/returning.py [MODEL]`.

Four conversations alternate in a KV cache that holds three of them, with and without saving states
to host memory. During the last turns another sequence decodes, and the gaps between its tokens are
printed, too. Without MODEL the script makes a random model in the shape of SmolLM2-135M
(scripts/make_random_model.py).
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

import numpy as np
from make_random_model import random_model

from llamabind import Engine, EngineConfig, GenerationRequest, SamplingParams, load_engine
from llamabind.request import RequestOutput

N_TALKS = 4
ANSWER = SamplingParams(temperature=0, ignore_eos=True)


class Talks:
    """Conversations that share no tokens; each begins with `n_tokens` of them."""

    def __init__(self, engine: Engine, n_tokens: int) -> None:
        self.engine = engine
        self._random = np.random.default_rng(1)
        self._tokens = [self._words(n_tokens) for _ in range(N_TALKS)]

    def turn(self, number: int, gaps: list[float] | None = None) -> RequestOutput:
        """Append 20 tokens to one conversation, generate 8, and return the last output."""
        self._tokens[number] += self._words(20)
        self.submit(f"talk {number}", self._tokens[number], 8)
        while True:
            started = time.perf_counter()
            outputs = {output.request_id: output for output in self.engine.step()}
            if gaps is not None:
                gaps.append(time.perf_counter() - started)
            answer = outputs.get(f"talk {number}")
            if answer is not None:
                self._tokens[number] += answer.token_ids
                if answer.finish_reason:
                    return answer

    def submit(self, request_id: str, tokens: list[int], max_tokens: int | None) -> None:
        request = GenerationRequest(
            request_id=request_id,
            prompt_tokens=tuple(tokens),
            max_tokens=max_tokens,
            sampling=ANSWER,
        )
        self.engine.prepare(request)
        self.engine.add(request)

    def _words(self, n: int) -> list[int]:
        words: list[int] = self._random.integers(1000, self.engine.shape.n_vocab - 1000, n).tolist()
        return words


def measure(model: Path, n_tokens: int, cache_ram_mib: int | None, kv_unified: bool) -> None:
    """Print a row of the table: times in ms, memory in MiB."""
    n_ctx = 3 * (n_tokens + 256)
    if not kv_unified:
        n_ctx = 3 * n_ctx
    config = EngineConfig(
        n_ctx=n_ctx, n_parallel=3, kv_unified=kv_unified, cache_ram_mib=cache_ram_mib
    )
    with load_engine(model, config=config) as engine:
        talks = Talks(engine, n_tokens)
        first = [talks.turn(number) for number in range(N_TALKS)]
        returned = [talks.turn(number) for number in range(N_TALKS)]
        talks.submit("decoding", [1, 2, 3], None)
        alone: list[float] = []
        for _ in range(20):
            started = time.perf_counter()
            engine.step()
            alone.append(time.perf_counter() - started)
        gaps: list[float] = []
        for number in range(N_TALKS):
            talks.turn(number, gaps)
        held = engine.stats.cache_ram_bytes
        engine.cancel("decoding")
    print(
        f"{'unified' if kv_unified else 'split':8} {cache_ram_mib!s:>9}"
        f" {_prompt_ms(first):12.0f} {_prompt_ms(returned):12.0f}"
        f" {returned[0].usage.cached_tokens:7} {held / 2**20:9.0f}"
        f" {1e3 * statistics.median(alone):10.0f} {1e3 * max(gaps):12.0f}"
    )


def measure_states(model: Path, n_tokens: int) -> None:
    """Print the time that saving and restoring one sequence takes."""
    with load_engine(model, config=EngineConfig(n_ctx=2 * n_tokens + 256, n_parallel=2)) as engine:
        Talks(engine, n_tokens).turn(0)
        context = engine.context
        n_bytes = 0
        save, restore = [], []
        for _ in range(7):
            started = time.perf_counter()
            state = context.state_seq_save(0)
            save.append(time.perf_counter() - started)
            started = time.perf_counter()
            context.state_seq_load(1, state)
            restore.append(time.perf_counter() - started)
            context.memory_seq_rm(1)
            n_bytes = state.n_bytes
    print(
        f"a state of {n_tokens} tokens: {n_bytes / 2**20:.1f} MiB, saved in"
        f" {1e3 * statistics.median(save):.1f} ms, restored in"
        f" {1e3 * statistics.median(restore):.1f} ms (medians of 7)"
    )


def _prompt_ms(outputs: list[RequestOutput]) -> float:
    return statistics.median(output.timings.prompt_ms for output in outputs if output.timings)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--tokens", type=int, default=1230, help="length of each conversation at its start"
    )
    parser.add_argument("model", type=Path, nargs="?")
    arguments = parser.parse_args()
    model = arguments.model or random_model("135m")
    measure_states(model, arguments.tokens)
    print(
        "layout   cache MiB  first prompt  next prompt  cached  held MiB  step alone  largest step"
    )
    for kv_unified in (True, False):
        for cache_ram_mib in (0, 1024):
            measure(model, arguments.tokens, cache_ram_mib, kv_unified)
    return 0


if __name__ == "__main__":
    sys.exit(main())
