"""What a step costs in each KV layout: `python scripts/measure_layouts.py`.

On a bare context of the random 135M shape (`--model FILE` is another): the next tokens of 16
streams of 100 tokens, prompts beside them in one step or in a step of their own, and one stream
beside cells that others keep. Medians in milliseconds; nothing else should run.
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

N_STREAMS = 16
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

    def cut(self, n_streams: int, length: int) -> None:
        """Take back what the last step added to the first streams, and the last one's prompt."""
        for seq_id in range(n_streams):
            self.context.memory_seq_rm(seq_id, length, -1)
        for seq_id in range(n_streams, N_STREAMS):
            self.context.memory_seq_rm(seq_id, -1, -1)

    def median(self, n_streams: int, length: int, *steps: tuple[Chunk, ...]) -> float:
        """Milliseconds for these steps one after the other, taken back each time."""
        seconds = []
        for _ in range(REPEATS):
            seconds.append(sum(self.decode(*chunks) for chunks in steps))
            self.cut(n_streams, length)
        return 1e3 * statistics.median(seconds)


@contextmanager
def open_bench(model: Model, n_threads: int, *, kv_unified: bool) -> Iterator[Bench]:
    params = ContextParams(
        n_ctx=8192,
        n_batch=2048,
        n_seq_max=N_STREAMS,
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
    """Print the lines of one layout."""
    bench.decode(*((seq_id, 0, N_PROMPT) for seq_id in range(N_STREAMS)))
    streams = tuple((seq_id, N_PROMPT, 1) for seq_id in range(N_STREAMS))
    print(f"  {N_STREAMS} streams: {bench.median(N_STREAMS, N_PROMPT, streams):.0f}")
    for n in (32, 64, 128, 256):
        prompt = ((N_STREAMS - 1, 0, n),)
        bench.cut(N_STREAMS - 1, N_PROMPT)
        together = bench.median(N_STREAMS - 1, N_PROMPT, streams[:-1] + prompt)
        apart = bench.median(N_STREAMS - 1, N_PROMPT, streams[:-1], prompt)
        print(f"  15 streams and {n} of a prompt: together {together:.0f}, apart {apart:.0f}")
    bench.cut(0, 0)
    bench.decode((0, 0, N_PROMPT))
    alone = bench.median(1, N_PROMPT, ((0, N_PROMPT, 1),))
    for seq_id in range(1, 15):
        bench.decode((seq_id, 0, 480))
    beside = [bench.decode((0, N_PROMPT + i, 1)) for i in range(REPEATS)]
    full = 1e3 * statistics.median(beside)
    print(f"  1 stream: {alone:.1f}, beside 6,720 cells of others: {full:.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--model", type=Path, help="a GGUF; default: a random one, 135M shape")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    with Model(arguments.model or random_model("135m")) as model:
        for kv_unified in (True, False):
            print("unified:" if kv_unified else "streams:")
            with open_bench(model, arguments.threads, kv_unified=kv_unified) as bench:
                report(bench)


if __name__ == "__main__":
    main()
