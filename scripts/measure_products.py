"""Compares our products of quantised weights with ggml's: `python scripts/measure_products.py`.

Uses a context without an engine, with random weights in the 135M shape (or `--model FILE`). Each
round loads the model and times steps of 1, 4 and 16 sequences and a prompt, with ggml's kernels and
with each of our kernels that this CPU supports. Prints medians in milliseconds; run nothing else on
the machine meanwhile.
"""

import argparse
import os
import statistics
from pathlib import Path

from make_random_model import random_model
from measure_layouts import N_SEQUENCES, REPEATS, Bench, Chunk, open_bench

from llamabind import Model
from llamabind.native.kernels import PRODUCTS_VARIABLE, product_variants

_N_PROMPT = 256


def _steps() -> dict[str, list[Chunk]]:
    decodes = {f"{n} tokens": [(seq_id, 1, 1) for seq_id in range(n)] for n in (4, N_SEQUENCES)}
    return {"1 token": [(0, 1, 1)], **decodes, f"{_N_PROMPT} prompt tokens": [(0, 1, _N_PROMPT)]}


def _median(bench: Bench, chunks: list[Chunk]) -> float:
    seconds = []
    for _ in range(2 * REPEATS):
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
    path = arguments.model or random_model("135m")
    variants = tuple(reversed(product_variants()))
    found: dict[str, dict[str, list[float]]] = {}
    for _ in range(arguments.rounds):
        for variant in variants:
            os.environ[PRODUCTS_VARIABLE] = variant
            with (
                Model(path) as model,
                open_bench(model, arguments.threads, kv_unified=True) as bench,
            ):
                bench.decode(*((seq_id, 0, 1) for seq_id in range(N_SEQUENCES)))
                for name, chunks in _steps().items():
                    times = found.setdefault(name, {}).setdefault(variant, [])
                    times.append(_median(bench, chunks))
    print(f"| step | {' | '.join(variants)} |\n| --- |{' --- |' * len(variants)}")
    for name, by_variant in found.items():
        medians = (f"{statistics.median(by_variant[which]):.1f}" for which in variants)
        print(f"| {name} | {' | '.join(medians)} |")


if __name__ == "__main__":
    main()
