"""Compares weights that are mapped from the file with weights read into pages of 2 MiB:
`python scripts/measure_huge_pages.py FILE.gguf`.

Loads the model in both ways, and decodes the next token in turn with the one and with the other.
Prints medians in milliseconds; run nothing else on the machine meanwhile. Linux only.
"""

import argparse
import os
import statistics
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from llamabind import Model, ModelParams
from llamabind.context.batch import Batch
from llamabind.context.context import Context
from llamabind.context.params import ContextParams
from llamabind.system.cpus import usable_cpus

N_PROMPT = 64
MAPPED, HUGE = "mapped", "huge pages"
LOAD_MODES = {MAPPED: "mmap", HUGE: "none"}
# malloc reads it when the process starts.
VARIABLE, TUNABLE = "GLIBC_TUNABLES", "glibc.malloc.hugetlb=1"


def main() -> None:
    """Print the result for one file."""
    parser = argparse.ArgumentParser(description="Compare mapped weights with huge pages.")
    parser.add_argument("model", type=Path, help="GGUF file")
    parser.add_argument("--threads", type=int, default=usable_cpus(), help="compute threads")
    parser.add_argument("--tokens", type=int, default=400, help="tokens of each way")
    arguments = parser.parse_args()
    if os.environ.get(VARIABLE) != TUNABLE:
        environment = os.environ | {VARIABLE: TUNABLE}
        os.execve(sys.executable, [sys.executable, *sys.argv], environment)
    seconds = measure(arguments.model, arguments.threads, arguments.tokens)
    medians = {way: 1e3 * statistics.median(times) for way, times in seconds.items()}
    ratio = statistics.median(a / b for a, b in zip(seconds[MAPPED], seconds[HUGE], strict=True))
    print(f"{MAPPED} {medians[MAPPED]:.2f} ms, {HUGE} {medians[HUGE]:.2f} ms; ratio {ratio:.3f}")


def measure(path: Path, n_threads: int, n_tokens: int) -> dict[str, list[float]]:
    """The seconds of each token after a prompt, for both ways."""
    params = ContextParams(
        n_ctx=N_PROMPT + n_tokens, n_threads=n_threads, n_threads_batch=n_threads, settle_ms=-1
    )
    with ExitStack() as stack:
        contexts = {}
        for way, load_mode in LOAD_MODES.items():
            model = stack.enter_context(Model(path, ModelParams(load_mode=load_mode)))
            contexts[way] = stack.enter_context(Context(model, params))
        batch = stack.enter_context(Batch(N_PROMPT))
        batch.extend(list(range(100, 100 + N_PROMPT)), 0, 0, output_last=True)
        for context in contexts.values():
            decode(context, batch)
        seconds: dict[str, list[float]] = {way: [] for way in contexts}
        for index in range(n_tokens):
            batch.clear()
            batch.add(200 + index, N_PROMPT + index, 0, output=True)
            # Each is first every other time.
            for way in sorted(contexts, reverse=index % 2 == 1):
                seconds[way].append(decode(contexts[way], batch))
    return seconds


def decode(context: Context, batch: Batch) -> float:
    """The seconds of a decode."""
    started = time.perf_counter()
    context.decode(batch)
    context.synchronize()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
