"""Runs an engine step by step and compares greedy answers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import resources

import numpy as np
import pytest

from llamabind.context.batch import Batch
from llamabind.context.context import Context
from llamabind.context.params import ContextParams
from llamabind.engine.config import EngineConfig
from llamabind.engine.engine import Engine, load_engine
from llamabind.native.model import Model
from llamabind.request import GenerationRequest, RequestOutput, TokenLogprob
from llamabind.sampling.params import SamplingParams

GREEDY = SamplingParams(temperature=0)
ENDLESS = SamplingParams(temperature=0, ignore_eos=True)
NEAR_TIE = 0.05
"""Kernels round differently for other batch sizes; only logits closer than this may swap."""

ROUNDING = 0.03
"""What other batch sizes make of a logit; of a token more or less it becomes another altogether."""

Outputs = dict[str, list[RequestOutput]]


@contextmanager
def tiny_engine(**config) -> Iterator[Engine]:
    """An engine over the bundled model, with one thread."""
    bundled = resources.files("llamabind") / "models" / "tiny-chat.gguf"
    with resources.as_file(bundled) as path:
        engine = load_engine(path, config=EngineConfig(**{"n_threads": 1, **config}))
        with engine:
            yield engine


def make_request(request_id: str, prompt: Iterable[int], max_tokens: int | None = 12, **fields):
    fields.setdefault("sampling", GREEDY)
    return GenerationRequest(
        request_id=request_id, prompt_tokens=tuple(prompt), max_tokens=max_tokens, **fields
    )


def submit(engine: Engine, *requests: GenerationRequest) -> None:
    for request in requests:
        engine.prepare(request)
        engine.add(request)


def run(engine: Engine, *requests: GenerationRequest) -> Outputs:
    """Run until idle; all outputs by request id."""
    submit(engine, *requests)
    outputs: Outputs = defaultdict(list)
    while engine.has_work:
        for output in engine.step():
            outputs[output.request_id].append(output)
    engine.check_idle()
    return outputs


def tokens_of(outputs: list[RequestOutput]) -> list[int]:
    return [token for output in outputs for token in output.token_ids]


def assert_same(model: Model, prompt: list[int], got: list[int], expected: list[int]) -> None:
    """Assert equal answers, up to a token with nearly equal alternatives."""
    for position, (a, b) in enumerate(zip(got, expected, strict=False)):
        if a != b:
            logits = logits_after(model, prompt + expected[:position])
            assert abs(logits[a] - logits[b]) < NEAR_TIE, f"differs at {position}: {a} or {b}"
            return
    assert len(got) == len(expected)


def assert_right(
    model: Model, prompt: list[int], outputs: list[RequestOutput], rounding: float = ROUNDING
) -> None:
    """Each token's log-probabilities are a softmax over the raw logits of an unshared run."""
    got = tokens_of(outputs)
    logprobs = [logprob for output in outputs for logprob in output.logprobs]
    assert [logprob.token for logprob in logprobs] == got
    expected = raw_logprobs(model, [*prompt, *got], len(prompt) - 1)
    _assert_reported(logprobs, expected, rounding)


def _assert_reported(logprobs: list[TokenLogprob], expected: np.ndarray, rounding: float) -> None:
    for position, (logprob, row) in enumerate(zip(logprobs, expected, strict=False)):
        n_top = len(logprob.top)
        best = np.sort(np.partition(row, row.size - n_top)[row.size - n_top :])[::-1]
        reported = [logprob.logprob, *(value for _, value in logprob.top)]
        assert reported == pytest.approx([row[logprob.token], *best], abs=rounding), position
        # Tokens with nearly equal values may be in another order; each must have its own value.
        of_each = [row[token] for token, _ in logprob.top]
        assert reported[1:] == pytest.approx(of_each, abs=rounding), position


class Reference:
    """The model's answers to single requests, in a context of its own."""

    def __init__(
        self, model: Model, rounding: float = ROUNDING, near_tie: float = NEAR_TIE
    ) -> None:
        self._model = model
        self._rounding, self._near_tie = rounding, near_tie
        self._known: dict[tuple[tuple[int, ...], int], np.ndarray] = {}

    def check(self, prompt: list[int], outputs: list[RequestOutput]) -> None:
        """Every token is the most likely one, or as good as, and has its own log-probability."""
        got = tokens_of(outputs)
        logprobs = [logprob for output in outputs for logprob in output.logprobs]
        assert [logprob.token for logprob in logprobs] == got
        expected = self._logprobs((*prompt, *got), len(prompt) - 1)
        _assert_reported(logprobs, expected, self._rounding)
        ends = list(self._model.tokenizer.eog_tokens)
        for position, (token, row) in enumerate(zip(got, expected, strict=False)):
            others = np.delete(row, ends)
            assert others.max() - row[token] < self._near_tie, f"another token at {position}"

    def _logprobs(self, tokens: tuple[int, ...], first: int) -> np.ndarray:
        """Kept, since tests compare the same answer of several engines."""
        known = self._known.get((tokens, first))
        if known is None:
            known = raw_logprobs(self._model, list(tokens), first).astype(np.float32)
            self._known[tokens, first] = known
        return known


def raw_logprobs(model: Model, tokens: list[int], first: int = 0) -> np.ndarray:
    """Those after each token from number `first` on, shape (n, n_vocab), from a context of its
    own.
    """
    n = len(tokens)
    params = ContextParams(n_ctx=n, n_batch=n, n_threads=1, n_threads_batch=1)
    with Context(model, params) as context:
        batch = Batch(n)
        for position, token in enumerate(tokens):
            batch.add(token, position, 0, output=position >= first)
        context.decode(batch)
        return np.stack([log_softmax(context.logits(index)) for index in range(first, n)])


def log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits.astype(np.float64) - logits.max()
    return shifted - np.log(np.exp(shifted).sum())


def logits_after(model: Model, tokens: list[int]) -> np.ndarray:
    """The logits of an unshared run, from a context of its own."""
    n = len(tokens)
    params = ContextParams(n_ctx=n + 1, n_batch=n, n_threads=1, n_threads_batch=1)
    with Context(model, params) as context:
        batch = Batch(n)
        batch.extend(tokens, 0, 0, output_last=True)
        context.decode(batch)
        return context.logits(n - 1).copy()
