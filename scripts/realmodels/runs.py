"""What the tests share: opening a model, and greedy answers with their log-probabilities."""

from pathlib import Path
from typing import Any, Final

from llamabind import LLM, EngineConfig, SamplingParams
from llamabind.generation.answer import Generation

GREEDY: Final = SamplingParams(temperature=0, ignore_eos=True)

Bits = tuple[tuple[int, ...], tuple[float, ...]]
"""The tokens of an answer, and the log-probability of each."""


def open_llm(path: Path, **values: Any) -> LLM:
    """Load a model with a fixed number of threads, which the engine would tune otherwise."""
    defaults = {"n_ctx": 4096, "n_parallel": 9, "n_threads": 2, "n_threads_batch": 2}
    return LLM(path, config=EngineConfig(**(defaults | values)))


def bits(answer: Generation) -> Bits:
    return answer.token_ids, tuple(one.logprob for one in answer.logprobs)


def greedy_bits(llm: LLM, prompt: str, n_tokens: int, **options: Any) -> Bits:
    return bits(llm.generate(prompt, GREEDY, max_tokens=n_tokens, logprobs=0, **options))
