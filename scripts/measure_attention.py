"""What our attention on CPUs saves against ggml's: `python scripts/measure_attention.py`.

On a bare context of the random 135M shape (`--model FILE` is another), each in turns: steps of
streams that share a prefix of 1,250 tokens, of streams with cells of their own, and of prompts.
Medians in milliseconds; nothing else should run.
"""

import argparse
import os
import random
import statistics
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from make_random_model import random_model

from llamabind import Batch, Context, ContextParams, Model
from llamabind.context_create import ATTENTION_VARIABLE

N_STREAMS = 16
N_SHARED = 1250
N_OWN = 400
ROUNDS = 3
REPEATS = 5

Chunk = tuple[int, int, int]
"""Sequence id, first position, number of tokens."""
Step = tuple[str, list[Chunk]]


class Bench:
    """Times decodes on one context."""

    def __init__(self, context: Context, batch: Batch) -> None:
        self._context = context
        self._batch = batch
        self._rng = random.Random(1)

    def decode(self, *chunks: Chunk) -> float:
        """Milliseconds for a step of these chunks of random tokens."""
        self._batch.clear()
        for seq_id, start, n in chunks:
            tokens = self._rng.choices(range(1000, 20_000), k=n)
            self._batch.extend(tokens, start, seq_id, output_last=True)
        started = time.perf_counter()
        self._context.decode(self._batch)
        self._context.synchronize()
        return 1e3 * (time.perf_counter() - started)

    def median(self, chunks: list[Chunk]) -> float:
        """The same, several times, taken back each time."""
        found = []
        for _ in range(REPEATS):
            found.append(self.decode(*chunks))
            for seq_id, start, _ in chunks:
                self._context.memory_seq_rm(seq_id, start, -1)
        return statistics.median(found)

    def shared(self) -> list[Step]:
        """Fill the cache with a prefix that all share; the steps to time."""
        for start in range(0, N_SHARED, 250):
            self.decode((0, start, 250))
        for seq_id in range(1, N_STREAMS):
            self._context.memory_seq_cp(0, seq_id, 0, N_SHARED)
        return [
            (f"{N_STREAMS} streams that share {N_SHARED:,}", _next_tokens(N_SHARED)),
            (f"prompt of 64 behind {N_SHARED:,}", [(0, N_SHARED, 64)]),
            (f"prompt of 512 behind {N_SHARED:,}", [(0, N_SHARED, 512)]),
        ]

    def distinct(self) -> list[Step]:
        """Fill the cache with tokens of each sequence's own; the steps to time."""
        for seq_id in range(N_STREAMS):
            self.decode((seq_id, 0, N_OWN))
        return [
            (f"{N_STREAMS} streams of {N_OWN} each", _next_tokens(N_OWN)),
            (f"prompt of 512 beside {N_STREAMS} of {N_OWN}", [(0, N_OWN, 512)]),
        ]


def _next_tokens(position: int) -> list[Chunk]:
    return [(seq_id, position, 1) for seq_id in range(N_STREAMS)]


@contextmanager
def _bench(model: Model, attention: str, threads: int) -> Iterator[Bench]:
    os.environ[ATTENTION_VARIABLE] = attention
    params = ContextParams(
        n_ctx=8192, n_seq_max=N_STREAMS, n_threads=threads, n_threads_batch=threads
    )
    with Context(model, params) as context, closing(Batch(context.n_batch)) as batch:
        yield Bench(context, batch)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, metavar="FILE", help="a GGUF")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    found: dict[str, dict[str, list[float]]] = {}
    with Model(arguments.model or random_model("135m")) as model:
        for _ in range(ROUNDS):
            for attention in ("ggml", ""):
                for fill in (Bench.shared, Bench.distinct):
                    with _bench(model, attention, arguments.threads) as bench:
                        for name, chunks in fill(bench):
                            times = found.setdefault(name, {}).setdefault(attention, [])
                            times.append(bench.median(chunks))
    print("| step | ggml | ours |\n| --- | --- | --- |")
    for name, times in found.items():
        theirs, ours = (statistics.median(times[which]) for which in ("ggml", ""))
        print(f"| {name} | {theirs:.0f} | {ours:.0f} |")


if __name__ == "__main__":
    main()
