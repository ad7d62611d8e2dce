#!/usr/bin/env python3
"""Measure what speculative decoding gains: tokens per second without, with n-grams, with a model.

"copy" makes the model repeat its prompt (a logits processor raises the next word of it), as an
editor's request does; "new" lets it write random words, where nothing can be guessed. Rounds take
turns and the median counts, because a machine's speed drifts.
"""

import argparse
import statistics
import time

import numpy as np

from llamabind import LLM, EngineConfig, SamplingParams

N_PROMPT = 200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="a GGUF file")
    parser.add_argument("--draft-model", help="a smaller one of the same vocabulary")
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--tokens", type=int, default=150)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    kinds: dict[str, dict[str, str]] = {"off": {"speculative": "off"}}
    kinds["ngram"] = {"speculative": "ngram"}
    if options.draft_model:
        kinds["draft"] = {"draft_model": options.draft_model}
    for n_streams in options.streams:
        for task in ("copy", "new"):
            rates: dict[str, list[float]] = {kind: [] for kind in kinds}
            notes: dict[str, str] = {}
            for number in range(options.rounds):
                for kind, fields in kinds.items():
                    rate, notes[kind] = _measure(options, task, n_streams, number, fields)
                    rates[kind].append(rate)
            plain = statistics.median(rates["off"])
            for kind, found in rates.items():
                rate = statistics.median(found)
                print(
                    f"{n_streams:3} streams  {task:5} {kind:6} {rate:8.1f} tokens/s"
                    f"  {rate / plain:5.2f}  {notes[kind]}",
                    flush=True,
                )


def _measure(
    options: argparse.Namespace, task: str, n_streams: int, seed: int, fields: dict[str, str]
) -> tuple[float, str]:
    """Return tokens per second, reading the prompts excepted, and what became of the drafts."""
    config = EngineConfig(n_ctx=1024 * n_streams, n_parallel=n_streams, **fields)
    with LLM(options.model, config=config) as llm:
        random = np.random.default_rng(seed)
        prompts = random.integers(1000, llm.model.n_vocab // 2, (n_streams, N_PROMPT)).tolist()
        params = SamplingParams(temperature=1.0, seed=seed, ignore_eos=True)
        processors = (_copy,) if task == "copy" else ()
        llm.generate(prompts, params, max_tokens=1)  # the prompts are read: only decoding is timed
        started = time.perf_counter()
        llm.generate(prompts, params, max_tokens=options.tokens, logits_processors=processors)
        seconds = time.perf_counter() - started
        stats = llm.stats.speculation
    note = f"{stats.accepted_tokens} of {stats.draft_tokens} guesses right" if stats.drafts else ""
    return n_streams * options.tokens / seconds, note


def _copy(tokens, logits) -> None:
    logits[tokens[len(tokens) - N_PROMPT]] += 1e4


if __name__ == "__main__":
    main()
