"""Speculative decoding over a real context: the same answers with and without drafts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from llamabind.engine.config import EngineConfig
from llamabind.engine.engine import Engine, load_engine
from llamabind.generation.answer_masks import AnswerMasks, AnswerSchema
from llamabind.request import FinishReason, GenerationRequest, RequestOutput
from llamabind.sampling.params import SamplingParams
from llamabind.speculation.step_cost import StepCost
from tests.support.engine_runs import assert_same, make_request, run, tokens_of
from tests.support.paths import ROOT

pytestmark = pytest.mark.native

TINY = ROOT / "llamabind" / "models" / "tiny-chat.gguf"
NGRAM = {"speculative": "ngram", "ngram_size": 2, "draft_max": 8}


@pytest.fixture(autouse=True)
def _drafts_always_pay(monkeypatch):
    """Drafts would not pay for a model this small, so make computing more tokens look free."""
    monkeypatch.setattr(StepCost, "per_token", 0.0)


@pytest.fixture(scope="module", params=["random", "tiny"])
def model_path(request, random_llama_path) -> Path:
    return random_llama_path if request.param == "random" else TINY


def _load(path: Path, **fields) -> Engine:
    fields = {"n_ctx": 2048, "n_parallel": 4, "n_batch": 256, "n_threads": 1, **fields}
    return load_engine(path, config=EngineConfig(**fields))


def _request(name: str, prompt: list[int], max_tokens: int = 40, **fields) -> GenerationRequest:
    return make_request(name, prompt, max_tokens, **fields)


def _text(outputs: list[RequestOutput]) -> str:
    return "".join(output.text for output in outputs)


def _prompt(engine: Engine, seed: int, n: int = 30) -> list[int]:
    """Random tokens, the same again, and their beginning, so that there is text to copy."""
    last = engine.model.n_vocab
    half = np.random.default_rng(seed).integers(300, last, n).tolist()
    return [*half, *half, *half[:5]]


def _compare(
    path: Path, make: Callable[[Engine], list[GenerationRequest]], **fields
) -> tuple[Engine, dict[str, list[RequestOutput]], dict[str, list[RequestOutput]]]:
    """Run the same requests without and with drafts; return the closed engine and both outputs."""
    layout = {name: fields[name] for name in ("kv_unified",) if name in fields}
    with _load(path, **layout) as plain:
        expected = run(plain, *make(plain))
    with _load(path, **fields) as engine:
        got = run(engine, *make(engine))
        for request in make(engine):
            name = request.request_id
            prompt = list(request.prompt_tokens)
            assert_same(engine.model, prompt, tokens_of(got[name]), tokens_of(expected[name]))
    return engine, got, expected


@pytest.mark.parametrize("kv_unified", [True, False])
def test_greedy_answers_are_the_same_alone_and_batched(model_path, kv_unified):
    def make(engine: Engine) -> list[GenerationRequest]:
        return [_request(f"r{i}", _prompt(engine, i, 20 + 5 * i)) for i in range(4)]

    engine, _, _ = _compare(model_path, make, kv_unified=kv_unified, **NGRAM)
    stats = engine.stats.speculation
    assert stats.drafts > 0
    assert stats.accepted_tokens == sum(stats.accepted_per_position)


def test_a_seed_gives_the_same_sampled_answer(model_path):
    # A vocabulary of five words: drafts are often right and often wrong.
    words = tuple((token, 100.0) for token in range(300, 305))
    sampling = SamplingParams(temperature=2.0, seed=1, repeat_penalty=1.1, logit_bias=words)
    with (
        _load(model_path) as plain,
        _load(model_path, speculative="ngram", ngram_size=1) as engine,
    ):
        request = _request("a", [300, 301, 302, 303, 304, 300], 80, sampling=sampling)
        expected = tokens_of(run(plain, request)["a"])
        got = tokens_of(run(engine, request)["a"])
        stats = engine.stats.speculation
    assert 0 < stats.accepted_tokens < stats.draft_tokens
    assert got == expected


def test_copied_text_needs_fewer_steps_than_tokens(random_llama_path):
    with _load(random_llama_path, **NGRAM) as engine:
        copied = _prompt(engine, 5)[:30]
        following = dict(zip(copied, [*copied[1:], copied[0]], strict=True))

        def copies(tokens, logits):
            logits[following[tokens[-1]]] += 1000.0

        request = _request("a", [*copied, *copied[:4]], 26, logits_processors=(copies,))
        outputs = run(engine, request)["a"]
        assert tokens_of(outputs) == copied[4:]
        assert engine.stats.steps < 15
        timings = outputs[-1].timings
        assert timings is not None
        assert timings.draft_n >= timings.draft_n_accepted > 10


def test_a_stop_string_and_logprobs_are_those_without_drafts():
    with _load(TINY) as plain, _load(TINY, **NGRAM) as engine:
        text = "One two three four five. One two three four five. One two three"
        prompt = plain.tokenizer.encode(text)
        free = _text(run(plain, _request("a", prompt))["a"])
        stop = free[len(free) // 2 :][:4]
        request = _request("a", prompt, stop=(stop,), logprobs=2)
        expected, got = run(plain, request)["a"], run(engine, request)["a"]
        assert _text(got) == _text(expected)
        assert got[-1].finish_reason is expected[-1].finish_reason is FinishReason.STOP
        logprobs = [entry for output in got for entry in output.logprobs]
        assert [entry.token for entry in logprobs] == tokens_of(got) == tokens_of(expected)
        again = [entry for output in expected for entry in output.logprobs]
        assert [entry.logprob for entry in logprobs] == pytest.approx(
            [entry.logprob for entry in again], abs=2e-2
        )


def test_min_tokens_and_a_grammar_hold_inside_a_draft():
    with _load(TINY, **NGRAM) as engine:
        prompt = engine.tokenizer.encode("yes no yes no yes no yes no yes no")
        grammar = SamplingParams(temperature=0, grammar='root ::= (" yes no")+')
        outputs = run(
            engine,
            _request("bound", prompt, 30, sampling=grammar),
            _request("long", prompt, 30, min_tokens=30),
        )
        assert engine.stats.speculation.accepted_tokens > 0
        assert (" yes no" * 30).startswith(_text(outputs["bound"]))
        assert len(tokens_of(outputs["long"])) == 30


def test_drafts_of_an_answer_that_follows_a_schema_are_verified_by_its_masks():
    words = {"type": "array", "items": {"enum": ["one", "two"]}, "minItems": 12, "maxItems": 12}
    sampling = SamplingParams(temperature=2.0, seed=3)
    with _load(TINY) as plain, _load(TINY, speculative="ngram", ngram_size=1) as engine:
        mask, _ = AnswerMasks(plain.tokenizer).of_text(AnswerSchema(words, is_lenient=False))
        prompt = plain.tokenizer.encode('["one", "two", "one", "two", "one", "two"')
        request = _request("a", prompt, 200, sampling=sampling, mask=mask)
        expected, got = run(plain, request)["a"], run(engine, request)["a"]
        stats = engine.stats.speculation
    assert 0 < stats.accepted_tokens < stats.draft_tokens
    assert tokens_of(got) == tokens_of(expected)
    answer = json.loads(_text(got))
    assert len(answer) == 12
    assert set(answer) <= {"one", "two"}
