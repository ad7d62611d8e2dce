"""`llamabind bench`: the speed of a model, measured through the server's API."""

import argparse
import json
import sys
from typing import Any, Final

from server.command.client import paths
from server.command.client.client import Client
from server.command.client.errors import UsageError
from server.command.client.measure import SHORT_PROMPT, Measurement, measure
from server.command.client.session import open_model
from server.command.flags.connection import add_connection_flags
from server.command.terminal.formats import size
from server.command.terminal.progress import ProgressBar
from server.command.terminal.screen import say, terminal_width
from server.command.terminal.table import format_table

DESCRIPTION: Final = (
    "Measure a model's speed with 1, 4 and 16 sequences at once: prompt tokens per second, "
    "generated tokens per second, the time to the first token, and memory. The requests have "
    "prompts of random words, reuse no cached prefix, and go through the server as any client's "
    "do. Other requests at the same time lower the figures."
)
EXAMPLES: Final = """
examples:
  llamabind bench tiny-chat.gguf
  llamabind bench tiny-chat.gguf --sequences 1,8 --prompt-tokens 1024 --json
"""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `bench`."""
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="name of a model, path of a GGUF file, or org/repo:QUANT of the hub",
    )
    parser.add_argument(
        "--sequences",
        type=_numbers,
        default=(1, 4, 16),
        metavar="N,...",
        help="numbers of sequences to run at once (default 1,4,16)",
    )
    parser.add_argument(
        "--prompt-tokens",
        type=_positive,
        default=512,
        metavar="N",
        help="length of each prompt (default %(default)s, less if the context is small)",
    )
    parser.add_argument(
        "--generate-tokens",
        type=_positive,
        default=128,
        metavar="N",
        help="length of each answer (default %(default)s)",
    )
    add_connection_flags(parser)


def run(options: argparse.Namespace) -> int:
    """Measure, and print a table or a document."""
    with open_model(options) as (client, model):
        document = client.get(paths.model_path(model))
        effective = document["settings"]["effective"] or {}
        if effective.get("embedding"):
            raise UsageError(f"{model} is loaded for embeddings; bench measures text generation")
        n_prompt, n_generate = _fitting(options, effective)
        results = _measure_all(client, model, options.sequences, n_prompt, n_generate)
        document = client.get(paths.model_path(model))
    memory = {device["device"]: device["used_bytes"] for device in document["memory"] or []}
    if options.json:
        summary = {
            "model": model,
            "prompt_tokens": n_prompt,
            "generate_tokens": n_generate,
            "results": [one.document() for one in results],
            "memory_bytes": memory,
            "settings": effective,
        }
        print(json.dumps(summary, indent=2))
        return 0
    print(_table(results))
    used = ", ".join(f"{name} {size(n_bytes)}" for name, n_bytes in memory.items())
    print(f"\n{model}: prompts of {n_prompt} tokens, answers of {n_generate} tokens")
    print(f"memory: {used}; context: {effective.get('n_ctx')} tokens")
    return 0


def _measure_all(
    client: Client, model: str, sequences: tuple[int, ...], n_prompt: int, n_generate: int
) -> list[Measurement]:
    results = []
    n_parallel = (client.get(paths.model_path(model))["settings"]["effective"] or {})["n_parallel"]
    if max(sequences) > n_parallel:
        say(
            f"{model} runs at most {n_parallel} sequences at once, the others wait; "
            f"`llamabind load {model} -np {max(sequences)}` allows more"
        )
    with ProgressBar("measuring") as bar:
        # The first steps after a load are slower: pages are read, the number of threads is tuned.
        bar.show(0.0, "warming up")
        measure(client, model, 1, min(n_prompt, 64), min(n_generate, 16))
        for index, n in enumerate(sequences):
            bar.show(index / len(sequences), f"{n} sequence{'s' if n > 1 else ''}")
            results.append(measure(client, model, n, n_prompt, n_generate))
    return results


def _fitting(options: argparse.Namespace, effective: dict[str, Any]) -> tuple[int, int]:
    """The lengths of prompts and answers: the requested ones, or less if the context is small."""
    n_ctx, n_sequences = effective.get("n_ctx") or 0, max(options.sequences)
    # A tenth stays free, so that no sequence is preempted.
    available = int(n_ctx / n_sequences * 0.9)
    n_prompt = min(options.prompt_tokens, available - 1)
    n_generate = min(options.generate_tokens, available - SHORT_PROMPT)
    if n_generate < 2:
        raise UsageError(
            f"{n_sequences} sequences do not fit into the context of {n_ctx} tokens; load the "
            "model with a larger one (`llamabind load MODEL -c N`), or give fewer --sequences"
        )
    if (n_prompt, n_generate) != (options.prompt_tokens, options.generate_tokens):
        say(
            f"the context of {n_ctx} tokens is small for {n_sequences} sequences: prompts of "
            f"{n_prompt} and answers of {n_generate} tokens are measured"
        )
    return n_prompt, n_generate


def _table(results: list[Measurement]) -> str:
    headings = ("SEQUENCES", "PROMPT TOKENS/S", "GENERATED TOKENS/S", "PER SEQUENCE",
                "FIRST TOKEN (MEDIAN)", "FIRST TOKEN (MAX)")  # fmt: skip
    rows = [
        (
            str(one.n_sequences),
            f"{one.prompt_tokens_per_second:.1f}",
            f"{one.generated_tokens_per_second:.1f}",
            f"{one.generated_tokens_per_second / one.n_sequences:.1f}",
            f"{one.first_token_median * 1000:.0f} ms",
            f"{one.first_token_max * 1000:.0f} ms",
        )
        for one in results
    ]
    return format_table(headings, rows, width=terminal_width(sys.stdout), right=headings)


def _positive(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1_000_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 1000000")
    return int(text)


def _numbers(text: str) -> tuple[int, ...]:
    numbers = tuple(sorted({_positive(word) for word in text.split(",")}))
    if numbers[-1] > 256:
        raise argparse.ArgumentTypeError(f"{numbers[-1]} is more than 256 sequences")
    return numbers
