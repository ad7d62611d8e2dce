"""Compares our attention kernels for CPUs with ggml's: `python scripts/measure_attention.py`.

Uses a context without an engine, with random weights in the 135M shape (or `--model FILE`). Each
round times ggml's kernel and each of our kernels that this CPU supports, in three kinds of steps:
sequences with a common prefix of 1,250 tokens, sequences without a common prefix, and prompts.
Prints medians in milliseconds; run nothing else on the machine meanwhile.
"""

import argparse
import os
import statistics
from pathlib import Path

from make_random_model import random_model
from measure_layouts import N_SEQUENCES, REPEATS, Bench, Chunk, open_bench

from llamabind import Model
from llamabind.native.kernels import ATTENTION_VARIABLE, attention_variants

N_SHARED = 1250
N_OWN = 400


def shared_steps(bench: Bench) -> dict[str, list[Chunk]]:
    """Fill the cache with a prefix that all sequences share; returns the steps to time."""
    for start in range(0, N_SHARED, 250):
        bench.decode((0, start, 250))
    for seq_id in range(1, N_SEQUENCES):
        bench.context.memory_seq_cp(0, seq_id, 0, N_SHARED)
    return {
        f"{N_SEQUENCES} sequences that share {N_SHARED:,} cells": _next_tokens(N_SHARED),
        f"64 prompt tokens after {N_SHARED:,}": [(0, N_SHARED, 64)],
        f"512 prompt tokens after {N_SHARED:,}": [(0, N_SHARED, 512)],
    }


def distinct_steps(bench: Bench) -> dict[str, list[Chunk]]:
    """Fill the cache with sequences that share nothing; returns the steps to time."""
    for seq_id in range(N_SEQUENCES):
        bench.decode((seq_id, 0, N_OWN))
    return {
        f"{N_SEQUENCES} sequences of {N_OWN} cells each": _next_tokens(N_OWN),
        f"512 prompt tokens, {N_SEQUENCES} sequences of {N_OWN} cells": [(0, N_OWN, 512)],
    }


def _next_tokens(position: int) -> list[Chunk]:
    return [(seq_id, position, 1) for seq_id in range(N_SEQUENCES)]


def _median(bench: Bench, chunks: list[Chunk]) -> float:
    seconds = []
    for _ in range(REPEATS):
        seconds.append(bench.decode(*chunks))
        for seq_id, start, _ in chunks:
            bench.context.memory_seq_rm(seq_id, start, -1)
    return 1e3 * statistics.median(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--model", type=Path, help="GGUF file; default: random weights, 135M shape")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    variants = tuple(reversed(attention_variants()))
    found: dict[str, dict[str, list[float]]] = {}
    with Model(arguments.model or random_model("135m")) as model:
        for _ in range(arguments.rounds):
            for attention in variants:
                os.environ[ATTENTION_VARIABLE] = attention
                for fill in (shared_steps, distinct_steps):
                    with open_bench(model, arguments.threads, kv_unified=True) as bench:
                        for name, chunks in fill(bench).items():
                            times = found.setdefault(name, {}).setdefault(attention, [])
                            times.append(_median(bench, chunks))
    print(f"| step | {' | '.join(variants)} |\n| --- |{' --- |' * len(variants)}")
    for name, by_variant in found.items():
        medians = (f"{statistics.median(by_variant[which]):.0f}" for which in variants)
        print(f"| {name} | {' | '.join(medians)} |")


if __name__ == "__main__":
    main()
