#!/usr/bin/env python3
"""Measures tokens per second without drafts, with n-gram drafts and with a draft model.

In the task "copy" the model repeats its prompt (a logits processor raises the prompt's next token),
as when an editor asks for a changed file. In the task "new" it writes random tokens, which no
drafter can predict. Because a machine's speed drifts, rounds alternate between the kinds of drafts,
and medians are printed.
"""

import argparse
import statistics
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llamabind import LLM, EngineConfig, SamplingParams

N_PROMPT = 200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="GGUF file")
    parser.add_argument("--draft-model", help="smaller GGUF file with the same vocabulary")
    parser.add_argument("--sequences", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--tokens", type=int, default=150)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    kinds: dict[str, dict[str, Any]] = {"off": {"speculative": "off"}}
    kinds["ngram"] = {"speculative": "ngram"}
    if options.draft_model:
        kinds["draft"] = {"draft_model": options.draft_model}
    for n_sequences in options.sequences:
        for task in ("copy", "new"):
            rates: dict[str, list[float]] = {kind: [] for kind in kinds}
            notes: dict[str, str] = {}
            for number in range(options.rounds):
                for kind, fields in kinds.items():
                    rate, notes[kind] = _measure(options, task, n_sequences, number, fields)
                    rates[kind].append(rate)
            plain = statistics.median(rates["off"])
            for kind, found in rates.items():
                rate = statistics.median(found)
                print(
                    f"{n_sequences:3} sequences  {task:5} {kind:6} {rate:8.1f} tokens/s"
                    f"  {rate / plain:5.2f}  {notes[kind]}",
                    flush=True,
                )


def _measure(
    options: argparse.Namespace, task: str, n_sequences: int, seed: int, fields: dict[str, Any]
) -> tuple[float, str]:
    """Return tokens per second of decoding, and a note on the accepted drafts."""
    config = EngineConfig(n_ctx=1024 * n_sequences, n_parallel=n_sequences, **fields)
    with LLM(options.model, config=config) as llm:
        random = np.random.default_rng(seed)
        prompts = random.integers(1000, llm.model.n_vocab // 2, (n_sequences, N_PROMPT)).tolist()
        params = SamplingParams(temperature=1.0, seed=seed, ignore_eos=True)
        processors = (_copy,) if task == "copy" else ()
        llm.generate(prompts, params, max_tokens=1)  # prefill, so that only decoding is timed
        started = time.perf_counter()
        llm.generate(prompts, params, max_tokens=options.tokens, logits_processors=processors)
        seconds = time.perf_counter() - started
        stats = llm.stats.speculation
    note = (
        f"{stats.accepted_tokens} of {stats.draft_tokens} drafts accepted" if stats.drafts else ""
    )
    return n_sequences * options.tokens / seconds, note


def _copy(tokens: Sequence[int], logits: NDArray[np.float32]) -> None:
    logits[tokens[len(tokens) - N_PROMPT]] += 1e4


if __name__ == "__main__":
    main()
