"""Compare llguidance's masks with llama.cpp's grammars for answers that follow a JSON schema.

    python scripts/measure_schemas.py VOCABULARY.gguf ... [--model MODEL.gguf] [--schemas N]

Prints how many of N made schemas (tests/support/made_schemas.py) each enforces in full; for each
vocabulary the time to build the masks' tokenizer, to compile a schema, and for one mask of 1 and of
16 sequences beside llama.cpp's whole-vocabulary mark; and with --model the tokens per second of 16
sequences with a schema, as a ratio of the same answers without one.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from llamabind import LLM, EngineConfig, SamplingParams, json_schema_to_grammar
from llamabind.errors import GrammarError, InvalidParameterError
from llamabind.generation.answer_masks import AnswerMasks, AnswerSchema
from llamabind.native.model import Model
from llamabind.native.model_params import ModelParams
from llamabind.sampling.sampler import Sampler, sample_many
from llamabind.sampling.token_mask import TokenMasks, apply_mask
from tests.support.made_schemas import made_schemas

if TYPE_CHECKING:
    from collections.abc import Callable

_ANSWER = '{"name": "Ada", "mail": "ada@example.org", "age": 36, "tags": ["a", "b"]}'
_SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 40},
        "mail": {"type": "string"},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "tags": {"type": "array", "items": {"enum": ["a", "b", "c"]}},
    },
    "required": ["name", "mail", "age", "tags"],
    "additionalProperties": False,
}
_LONG: dict[str, object] = {"type": "string", "minLength": 4000}
_N_SEQUENCES = 16


def _coverage(number: int) -> None:
    schemas = made_schemas(number)

    def is_whole(enforce: Callable[[dict[str, object]], object], schema: dict[str, object]) -> bool:
        try:
            enforce(schema)
        except (GrammarError, InvalidParameterError):
            return False
        return True

    masks = sum(is_whole(lambda s: AnswerSchema(s, is_lenient=False).warnings, s) for s in schemas)
    grammars = sum(is_whole(json_schema_to_grammar, s) for s in schemas)
    print(f"enforced in full, of {len(schemas)}: llguidance {masks}, llama.cpp {grammars}")


def _tokens(model: Model, text: bytes) -> list[int]:
    """Return the longest tokens of a text, without the space that some vocabularies put first."""
    pieces = {model.tokenizer.piece(token): token for token in range(model.n_vocab)}
    tokens, position = [], 0
    while position < len(text):
        end = next(e for e in range(len(text), position, -1) if text[position:e] in pieces)
        tokens.append(pieces[text[position:end]])
        position = end
    return tokens


def _milliseconds(seconds: list[float]) -> str:
    ordered = sorted(seconds)
    worst = ordered[-1] * 1e3
    return f"median {statistics.median(ordered) * 1e3:.3f} ms, largest {worst:.2f} ms"


def _masks(path: Path) -> None:
    with Model(path, ModelParams(vocab_only=True)) as model:
        tokens = _tokens(model, _ANSWER.encode())
        masks, answers = TokenMasks.of(model.tokenizer), AnswerMasks(model.tokenizer)
        start = time.perf_counter()
        grammar, _ = answers.of_text(AnswerSchema(_SCHEMA, is_lenient=False))
        print(
            f"{path.name}, {model.n_vocab} tokens: first schema {time.perf_counter() - start:.2f} s"
        )
        start = time.perf_counter()
        answers.of_text(AnswerSchema({**_SCHEMA, "title": "x", "maxProperties": 4}, False))
        print(f"  another schema {(time.perf_counter() - start) * 1e3:.1f} ms")
        logits = np.zeros(model.n_vocab, dtype=np.float32)
        for n in (1, _N_SEQUENCES):
            sequences, times = [masks.start(grammar) for _ in range(n)], []
            for token in tokens:
                start = time.perf_counter()
                for row in masks.rows(sequences):
                    apply_mask(row, logits)
                times.append(time.perf_counter() - start)
                for sequence in sequences:
                    sequence.accept(token)
            print(f"  llguidance, {n} sequences a step: {_milliseconds(times)}")
        params = SamplingParams(grammar=json_schema_to_grammar(_SCHEMA), seed=1)
        samplers, times = [Sampler(model, params) for _ in range(_N_SEQUENCES)], []
        logits.fill(0.0)
        for token in tokens:
            start = time.perf_counter()
            sample_many(samplers, [logits.ctypes.data] * _N_SEQUENCES, accept=False)
            times.append(time.perf_counter() - start)
            for sampler in samplers:
                sampler.accept(token)
        print(f"  llama.cpp, {_N_SEQUENCES} sequences, with sampling: {_milliseconds(times)}")


def _speed(path: Path, n_tokens: int) -> None:
    """Measure answers of equal length with and without a schema, in turn."""
    with LLM(path, config=EngineConfig(n_parallel=_N_SEQUENCES, n_ctx=8192)) as llm:
        prompts = [f"Tell a story about {i}." for i in range(_N_SEQUENCES)]
        params = SamplingParams(temperature=0.8, seed=1)

        def run(schema: dict[str, object] | None) -> float:
            start = time.perf_counter()
            made = llm.generate(
                prompts, params, max_tokens=n_tokens, min_tokens=n_tokens, json_schema=schema
            )
            count = sum(len(generation.token_ids) for generation in made)
            return count / (time.perf_counter() - start)

        run(_LONG)
        rates = [(run(None), run(_LONG)) for _ in range(5)]
        ratio = statistics.median(masked / free for free, masked in rates)
        print(f"{path.name}, {_N_SEQUENCES} sequences: {ratio:.2f} of the speed without a schema")


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("vocabularies", nargs="*", type=Path)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--tokens", type=int, default=150)
    parser.add_argument("--schemas", type=int, default=500)
    options = parser.parse_args()
    if options.schemas:
        _coverage(options.schemas)
    for path in options.vocabularies:
        _masks(path)
    if options.model:
        _speed(options.model, options.tokens)


if __name__ == "__main__":
    main()
