"""Measures the price of `deterministic`: `python scripts/measure_deterministic.py [MODEL]`.

Uses a context without an engine. Each round times a prompt, the next token of one sequence and of
8 sequences, with and without `deterministic`, in turn. Prints medians in tokens per second; run
nothing else on the machine meanwhile.
"""

import argparse
import random
import statistics
import time
from contextlib import closing
from pathlib import Path

from make_random_model import random_model

from llamabind import Batch, Context, ContextParams, Model, ModelParams

N_PROMPT = 256
N_SEQUENCES = 8
REPEATS = 4


def speeds(path: Path, n_threads: int, *, deterministic: bool) -> dict[str, float]:
    """Tokens per second of each kind of step."""
    tokens = random.Random(1)
    found: dict[str, float] = {}
    params = ContextParams(
        n_ctx=4096,
        n_seq_max=N_SEQUENCES,
        n_threads=n_threads,
        n_threads_batch=n_threads,
        deterministic=deterministic,
    )
    model_params = ModelParams(use_extra_bufts=False if deterministic else None)
    with (
        Model(path, model_params) as model,
        Context(model, params) as context,
        closing(Batch(context.n_batch)) as batch,
    ):

        def step(*chunks: tuple[int, int, int]) -> float:
            batch.clear()
            for seq_id, start, n in chunks:
                chosen = tokens.choices(range(100, 2000), k=n)
                batch.extend(chosen, start, seq_id, output_last=True)
            started = time.perf_counter()
            context.decode(batch)
            context.synchronize()
            return sum(n for *_, n in chunks) / (time.perf_counter() - started)

        step((0, 0, N_PROMPT))
        prompts = []
        for _ in range(REPEATS):
            context.memory_clear()
            prompts.append(step((0, 0, N_PROMPT)))
        found[f"{N_PROMPT} prompt tokens"] = statistics.median(prompts)
        context.memory_clear()
        for n in (1, N_SEQUENCES):
            start = 0 if n == 1 else 8 * REPEATS
            each = [
                step(*((seq_id, start * (seq_id == 0) + i, 1) for seq_id in range(n)))
                for i in range(8 * REPEATS)
            ]
            found[f"next token of {n}"] = statistics.median(each)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("model", type=Path, nargs="?", help="GGUF file; default: random, Q8_0")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    path = arguments.model or random_model("135m")
    found: dict[str, dict[bool, list[float]]] = {}
    for _ in range(arguments.rounds):
        for deterministic in (False, True):
            for name, speed in speeds(path, arguments.threads, deterministic=deterministic).items():
                found.setdefault(name, {}).setdefault(deterministic, []).append(speed)
    print("| tokens per second | default | deterministic | ratio |\n| --- | --- | --- | --- |")
    for name, both in found.items():
        usual, pinned = (statistics.median(both[which]) for which in (False, True))
        print(f"| {name} | {usual:.0f} | {pinned:.0f} | {pinned / usual:.2f} |")


if __name__ == "__main__":
    main()
