"""No request fails or gets another answer because of other requests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import resources
from typing import Any

import numpy as np
import pytest

from llamabind.context.context import Context
from llamabind.engine.config import EngineConfig
from llamabind.engine.engine import DEBUG_VARIABLE, Engine
from llamabind.llm import LLM
from llamabind.request import FinishReason
from llamabind.sampling.params import SamplingParams
from llamabind.scheduling.sequence import Sequence
from tests.support.engine_runs import (
    ENDLESS,
    assert_same,
    make_request,
    run,
    tiny_engine,
    tokens_of,
)

pytestmark = pytest.mark.native

N_REQUESTS = 16
N_TOKENS = 32


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with tiny_engine(n_ctx=4096, n_parallel=N_REQUESTS) as engine:
        yield engine


def _question(engine: Engine, i: int) -> list[int]:
    words = ["France", "Japan", "a dog", "the sky", "a spider", "water", "Monday", "Egypt"]
    text = f"Question {i}: what do you know about {words[i % 8]} and about {words[(i + 3) % 8]}?"
    return engine.tokenizer.encode(text, add_special=True, parse_special=False)


def _with_note(method: Callable[..., Any], note: Callable[[Any], None]) -> Callable[..., Any]:
    """The method, with a call of `note` before each call of it."""

    def call(self: Any, *arguments: Any) -> Any:
        note(self)
        return method(self, *arguments)

    return call


def _alone(engine: Engine, prompt: list[int], n: int = N_TOKENS) -> list[int]:
    return tokens_of(run(engine, make_request("alone", prompt, n, sampling=ENDLESS))["alone"])


def test_sixteen_requests_with_half_the_cells_they_need_all_finish_with_their_answer(engine):
    prompts = [_question(engine, i) for i in range(N_REQUESTS)]
    n_needed = sum(len(prompt) + N_TOKENS for prompt in prompts)
    with tiny_engine(n_ctx=n_needed // 2 // 256 * 256, n_parallel=N_REQUESTS) as small:
        assert small.shape.n_cells * 2 <= n_needed
        requests = [
            make_request(f"r{i}", prompt, N_TOKENS, sampling=ENDLESS)
            for i, prompt in enumerate(prompts)
        ]
        outputs = run(small, *requests)
    for i, prompt in enumerate(prompts):
        assert outputs[f"r{i}"][-1].finish_reason is FinishReason.LENGTH
        assert_same(engine.model, prompt, tokens_of(outputs[f"r{i}"]), _alone(engine, prompt))


def test_a_greedy_answer_is_the_same_alone_and_batched_with_15_others(engine):
    prompts = [_question(engine, i) for i in range(N_REQUESTS)]
    requests = [
        make_request(f"r{i}", prompt, N_TOKENS, sampling=ENDLESS)
        for i, prompt in enumerate(prompts)
    ]
    outputs = run(engine, *requests)
    for i, prompt in enumerate(prompts):
        assert_same(engine.model, prompt, tokens_of(outputs[f"r{i}"]), _alone(engine, prompt))


def test_a_greedy_answer_is_the_same_with_a_shared_prefix(engine):
    prompt = _question(engine, 1)
    with tiny_engine(n_ctx=2048, n_parallel=2) as fresh:
        first = run(fresh, make_request("first", prompt, N_TOKENS, sampling=ENDLESS))["first"]
        again = run(fresh, make_request("again", prompt, N_TOKENS, sampling=ENDLESS))["again"]
    assert first[-1].usage.cached_tokens == 0
    assert again[-1].usage.cached_tokens == len(prompt) - 1
    assert_same(engine.model, prompt, tokens_of(again), tokens_of(first))


@pytest.mark.parametrize("cache_ram_mib", [0, 64], ids=["computed again", "restored"])
def test_a_greedy_answer_is_the_same_after_preemption_and_resuming(
    engine, monkeypatch, cache_ram_mib
):
    preempted: list[str] = []
    restored: list[int] = []
    monkeypatch.setattr(
        Sequence,
        "preempt",
        _with_note(Sequence.preempt, lambda it: preempted.append(it.request_id)),
    )
    monkeypatch.setattr(
        Context, "state_seq_load", _with_note(Context.state_seq_load, lambda it: restored.append(1))
    )
    prompts = [_question(engine, i) for i in range(2)]
    n_tokens = 200
    with tiny_engine(n_ctx=256, n_parallel=2, cache_ram_mib=cache_ram_mib) as small:
        requests = [
            make_request(f"r{i}", prompt, n_tokens, sampling=ENDLESS)
            for i, prompt in enumerate(prompts)
        ]
        assert sum(len(prompt) + n_tokens for prompt in prompts) > small.shape.n_cells
        outputs = run(small, *requests)
    assert set(preempted) == {"r1"}, "only the younger is preempted"
    assert bool(restored) == (cache_ram_mib > 0)
    for i, prompt in enumerate(prompts):
        got = tokens_of(outputs[f"r{i}"])
        assert_same(engine.model, prompt, got, _alone(engine, prompt, n_tokens))


def test_a_sampled_seed_repeats_its_answer_when_it_runs_alone(engine):
    prompt = _question(engine, 2)
    sampling = SamplingParams(temperature=1.0, seed=42, ignore_eos=True)
    answers = [
        tokens_of(run(engine, make_request("a", prompt, N_TOKENS, sampling=sampling))["a"])
        for _ in range(2)
    ]
    assert answers[0] == answers[1]


def test_four_answers_to_one_prompt_compute_it_once_even_if_all_arrive_at_once():
    bundled = resources.files("llamabind") / "models" / "tiny-chat.gguf"
    prompt = np.random.default_rng(1).integers(1, 200, 300).tolist()
    config = EngineConfig(n_ctx=2048, n_parallel=4, n_batch=64, n_threads=1)
    with resources.as_file(bundled) as path, LLM(path, config=config) as llm:
        params = SamplingParams(temperature=1.0, seed=7, ignore_eos=True)
        result = llm.generate(prompt, params, n=4, max_tokens=8)
        computed = llm.stats.prompt_tokens
    assert computed == len(prompt) + 3, "the prompt once, and each other answer its last token"
    assert len(result.answers) == 4
    assert len({answer.token_ids for answer in result.answers}) > 1, "each has a seed of its own"


def test_in_debug_mode_an_engine_notices_a_lost_cell_when_it_is_idle(monkeypatch):
    monkeypatch.setenv(DEBUG_VARIABLE, "1")
    with tiny_engine(n_ctx=512, n_parallel=2) as engine:
        run(engine, make_request("a", [1, 2, 3], 2))
        engine.slots.cells.take(1)  # held by no slot
        with pytest.raises(AssertionError, match="cell"):
            run(engine, make_request("b", [4, 5, 6], 2))
