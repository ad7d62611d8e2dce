"""Measures the time of a step with each KV layout: `python scripts/measure_layouts.py`.

Uses a context without an engine, with random weights in the 135M shape (or `--model FILE`). It
times three cases: the next token of each of 16 sequences of 100 tokens; prompt tokens, in the same
step or in a separate one; and one sequence while other sequences hold their cells. Prints medians
in milliseconds; run nothing else on the machine meanwhile.
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
from llamabind.context.compute_threads import ComputeThreads

N_SEQUENCES = 16
N_PROMPT = 100
REPEATS = 5

Chunk = tuple[int, int, int]
"""Sequence id, first position, number of tokens."""


class Bench:
    """Times decodes on one context."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self._rng = random.Random(1)
        self._batch = Batch(context.n_batch)

    def decode(self, *chunks: Chunk) -> float:
        """Seconds for a step of these chunks of random tokens."""
        self._batch.clear()
        for seq_id, start, n in chunks:
            tokens = self._rng.choices(range(1000, 20_000), k=n)
            self._batch.extend(tokens, start, seq_id, output_last=True)
        started = time.perf_counter()
        self.context.decode(self._batch)
        self.context.synchronize()
        return time.perf_counter() - started

    def cut(self, n_sequences: int, length: int) -> None:
        """Cut the first `n_sequences` back to `length` cells and empty the other sequences."""
        for seq_id in range(n_sequences):
            self.context.memory_seq_rm(seq_id, length, -1)
        for seq_id in range(n_sequences, N_SEQUENCES):
            self.context.memory_seq_rm(seq_id, -1, -1)

    def median(self, n_sequences: int, length: int, *steps: tuple[Chunk, ...]) -> float:
        """Milliseconds for these steps in a row; their cells are removed after each repeat."""
        seconds = []
        for _ in range(REPEATS):
            seconds.append(sum(self.decode(*chunks) for chunks in steps))
            self.cut(n_sequences, length)
        return 1e3 * statistics.median(seconds)


@contextmanager
def open_bench(model: Model, n_threads: int, *, kv_unified: bool) -> Iterator[Bench]:
    params = ContextParams(
        n_ctx=8192,
        n_batch=2048,
        n_seq_max=N_SEQUENCES,
        n_threads=n_threads,
        n_threads_batch=n_threads,
        kv_unified=kv_unified,
    )
    with closing(Context(model, params)) as context:
        threads = ComputeThreads(context, n_threads, n_threads, n_max=n_threads)
        threads.prepare(1)
        yield Bench(context)
    threads.close()


def report(bench: Bench) -> None:
    """Print the results for one layout."""
    bench.decode(*((seq_id, 0, N_PROMPT) for seq_id in range(N_SEQUENCES)))
    decoding = tuple((seq_id, N_PROMPT, 1) for seq_id in range(N_SEQUENCES))
    print(f"  {N_SEQUENCES} sequences: {bench.median(N_SEQUENCES, N_PROMPT, decoding):.0f}")
    for n in (32, 64, 128, 256):
        prompt = ((N_SEQUENCES - 1, 0, n),)
        bench.cut(N_SEQUENCES - 1, N_PROMPT)
        together = bench.median(N_SEQUENCES - 1, N_PROMPT, decoding[:-1] + prompt)
        apart = bench.median(N_SEQUENCES - 1, N_PROMPT, decoding[:-1], prompt)
        print(f"  15 sequences, {n} prompt tokens: one step {together:.0f}, two {apart:.0f}")
    bench.cut(0, 0)
    bench.decode((0, 0, N_PROMPT))
    alone = bench.median(1, N_PROMPT, ((0, N_PROMPT, 1),))
    for seq_id in range(1, 15):
        bench.decode((seq_id, 0, 480))
    beside = [bench.decode((0, N_PROMPT + i, 1)) for i in range(REPEATS)]
    full = 1e3 * statistics.median(beside)
    print(f"  1 sequence: {alone:.1f}, with 6,720 cells of others: {full:.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--model", type=Path, help="GGUF file; default: random weights, 135M shape")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    with Model(arguments.model or random_model("135m")) as model:
        for kv_unified in (True, False):
            print("unified:" if kv_unified else "split:")
            with open_bench(model, arguments.threads, kv_unified=kv_unified) as bench:
                report(bench)


if __name__ == "__main__":
    main()
