"""The engine over a real context: answers do not depend on other requests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from llamabind.engine.config import EngineConfig
from llamabind.engine.engine import Engine, load_engine
from llamabind.errors import GrammarError, LoadCancelledError, PromptTooLongError
from llamabind.request import FinishReason
from llamabind.sampling.params import SamplingParams
from tests.support.engine_runs import (
    GREEDY,
    ROUNDING,
    assert_right,
    assert_same,
    log_softmax,
    logits_after,
    make_request,
    raw_logprobs,
    run,
    tokens_of,
)

pytestmark = pytest.mark.native


@pytest.fixture(scope="module")
def engine(random_llama_path: Path) -> Iterator[Engine]:
    with _load(random_llama_path) as engine:
        yield engine


def _load(path: Path, n_ctx: int = 1024, **fields) -> Engine:
    fields = {"n_parallel": 8, "n_batch": 256, "n_threads": 1, **fields}
    return load_engine(path, config=EngineConfig(n_ctx=n_ctx, **fields))


def _prompt(seed: int, n: int) -> list[int]:
    return np.random.default_rng(seed).integers(300, 30_000, n).tolist()


def test_answers_in_a_batch_equal_those_computed_alone(engine):
    prompts = {f"r{i}": _prompt(i, 5 + 3 * i) for i in range(8)}
    alone = {name: run(engine, make_request(name, prompt)) for name, prompt in prompts.items()}
    together = run(engine, *(make_request(name, prompt) for name, prompt in prompts.items()))
    for name, prompt in prompts.items():
        expected = tokens_of(alone[name][name])
        assert len(expected) == 12
        assert_same(engine.model, prompt, tokens_of(together[name]), expected)


def test_a_load_and_an_answer_read_no_vocabulary_token_by_token(random_llama_path: Path) -> None:
    """There may be 262,144 tokens: a loop over them delays the first answer."""
    with _load(random_llama_path) as engine:
        run(engine, make_request("r", _prompt(9, 5)))
        assert "eog_tokens" not in vars(engine.tokenizer)
        assert "_special_texts" not in vars(engine.tokenizer)


def test_a_shared_prefix_changes_the_work_but_not_the_answer(engine):
    shared = _prompt(100, 200)
    prompts = {f"r{i}": [*shared, *_prompt(200 + i, 4)] for i in range(6)}
    before = engine.stats.prompt_tokens
    together = run(engine, *(make_request(name, prompt) for name, prompt in prompts.items()))
    assert engine.stats.prompt_tokens - before <= 200 + 6 * 5
    cached = [together[name][-1].usage.cached_tokens for name in prompts]
    assert sorted(cached) == [0, 200, 200, 200, 200, 200]
    with _load(engine.model.path) as fresh:
        for name, prompt in prompts.items():
            alone = tokens_of(run(fresh, make_request(name, prompt))[name])
            assert_same(engine.model, prompt, tokens_of(together[name]), alone)


def test_with_a_split_cache_a_shared_prefix_gives_the_same_answers(engine):
    shared = _prompt(400, 150)
    prompts = {f"r{i}": [*shared, *_prompt(500 + i, 4)] for i in range(4)}
    with _load(engine.model.path, n_ctx=2048, n_parallel=4, kv_unified=False) as split_engine:
        assert split_engine.shape.n_ctx == 512
        together = run(split_engine, *(make_request(name, p) for name, p in prompts.items()))
        again = run(split_engine, make_request("again", [*prompts["r0"], 999]))
    cached = sorted(together[name][-1].usage.cached_tokens for name in prompts)
    assert cached == [0, 150, 150, 150]
    assert again["again"][-1].usage.cached_tokens == 154
    for name, prompt in prompts.items():
        alone = tokens_of(run(engine, make_request(name, prompt))[name])
        assert_same(engine.model, prompt, tokens_of(together[name]), alone)


def test_when_cells_run_out_every_request_still_finishes_with_its_answer(random_llama_path):
    prompts = {f"r{i}": _prompt(300 + i, 60) for i in range(6)}
    with _load(random_llama_path, n_ctx=256) as engine:
        alone = {
            name: tokens_of(run(engine, make_request(name, prompt, 60))[name])
            for name, prompt in prompts.items()
        }
        together = run(engine, *(make_request(name, p, 60) for name, p in prompts.items()))
        for name, prompt in prompts.items():
            assert together[name][-1].usage.completion_tokens == len(alone[name])
            assert_same(engine.model, prompt, tokens_of(together[name]), alone[name])


def test_a_seed_repeats_its_answer_and_another_seed_gives_another(engine):
    def sample(seed: int) -> list[int]:
        sampling = SamplingParams(temperature=1.5, seed=seed)
        return tokens_of(run(engine, make_request("a", _prompt(7, 9), sampling=sampling))["a"])

    assert sample(1) == sample(1)
    assert sample(1) != sample(2)


def test_a_grammar_is_followed_beside_unconstrained_requests(engine):
    constrained = SamplingParams(temperature=1.0, seed=3, grammar='root ::= "yes" | "no"')
    outputs = run(
        engine,
        make_request("free", _prompt(8, 9)),
        make_request("bound", _prompt(9, 9), sampling=constrained),
    )
    assert "".join(output.text for output in outputs["bound"]).strip() in ("yes", "no")
    assert outputs["bound"][-1].finish_reason is FinishReason.STOP
    assert len(tokens_of(outputs["free"])) == 12


def test_a_broken_grammar_is_refused_before_it_is_queued(engine):
    with pytest.raises(GrammarError):
        engine.prepare(make_request("a", [300], sampling=SamplingParams(grammar="root ::= (")))
    assert not engine.has_work


def test_ignore_eos_generates_up_to_the_limit(engine):
    eos = engine.tokenizer.eos
    assert eos is not None
    wants_end = ((eos, 100.0),)
    ends = SamplingParams(temperature=0, logit_bias=wants_end)
    goes_on = SamplingParams(temperature=0, logit_bias=wants_end, ignore_eos=True)
    outputs = run(
        engine,
        make_request("ends", _prompt(10, 5), sampling=ends),
        make_request("goes on", _prompt(10, 5), sampling=goes_on),
    )
    assert tokens_of(outputs["ends"]) == [eos]
    assert outputs["goes on"][-1].finish_reason is FinishReason.LENGTH
    assert len(tokens_of(outputs["goes on"])) == 12


def test_min_tokens_keeps_the_answer_from_ending(engine):
    eos = engine.tokenizer.eos
    ends = SamplingParams(temperature=0, logit_bias=((eos, 100.0),))
    outputs = run(engine, make_request("a", _prompt(11, 5), sampling=ends, min_tokens=4))
    tokens = tokens_of(outputs["a"])
    assert (len(tokens), tokens[-1]) == (5, eos)
    assert eos not in tokens[:-1]


def test_logprobs_of_every_token_are_those_of_the_raw_logits(engine):
    """Of several sequences in one batch, with any way of sampling."""
    bound = SamplingParams(temperature=1.0, seed=1, grammar="root ::= [a-z ]+")
    biased = SamplingParams(temperature=1.0, seed=2, logit_bias=((777, 5.0),), top_k=3)
    penalised = SamplingParams(temperature=1.0, seed=3, repeat_penalty=1.5)
    samplings = {"free": GREEDY, "bound": bound, "biased": biased, "penalised": penalised}
    prompts = {name: _prompt(800 + i, 20 + 9 * i) for i, name in enumerate(samplings)}
    outputs = run(
        engine,
        *(
            make_request(name, prompts[name], sampling=sampling, logprobs=4)
            for name, sampling in samplings.items()
        ),
    )
    for name, prompt in prompts.items():
        assert len(tokens_of(outputs[name])) >= 1
        assert_right(engine.model, prompt, outputs[name])
        with pytest.raises(AssertionError):
            assert_right(engine.model, [prompt[0] + 1, *prompt[1:]], outputs[name])
    # Once more, with cached prefixes.
    longer = {name: [*prompt, *_prompt(820, 5)] for name, prompt in prompts.items()}
    again = run(engine, *(make_request(name, longer[name], logprobs=4) for name in longer))
    for name, prompt in longer.items():
        assert again[name][-1].usage.cached_tokens == len(prompt) - 5
        assert_right(engine.model, prompt, again[name])


def test_prompt_logprobs_are_right_for_every_token_but_the_first(engine):
    prompts = {f"r{i}": _prompt(13 + i, 150 - 60 * i) for i in range(2)}
    outputs = run(
        engine,
        make_request("stream", _prompt(16, 9)),
        *(make_request(name, prompts[name], 3, prompt_logprobs=2) for name in prompts),
    )
    for name, prompt in prompts.items():
        logprobs = outputs[name][0].prompt_logprobs
        assert [logprob.token for logprob in logprobs] == prompt[1:]
        expected = raw_logprobs(engine.model, prompt)
        for logprob, row in zip(logprobs, expected, strict=False):
            assert logprob.logprob == pytest.approx(row[logprob.token], abs=ROUNDING)
            best = np.sort(row)[::-1][:2].tolist()
            assert [value for _, value in logprob.top] == pytest.approx(best, abs=ROUNDING)
        assert all(output.prompt_logprobs == () for output in outputs[name][1:])


def test_a_logits_processor_changes_only_its_own_request(engine):
    def only_777(tokens, logits):
        logits[:] = -np.inf
        logits[777] = 0.0

    prompt = _prompt(14, 9)
    free = tokens_of(run(engine, make_request("free", prompt))["free"])
    outputs = run(
        engine,
        make_request("steered", prompt, 4, logits_processors=(only_777,), logprobs=0),
        make_request("free", prompt),
    )
    assert tokens_of(outputs["steered"]) == [777] * 4
    raw = log_softmax(logits_after(engine.model, prompt))[777]
    assert outputs["steered"][0].logprobs[0].logprob == pytest.approx(raw, abs=2e-3)
    assert_same(engine.model, prompt, tokens_of(outputs["free"]), free)


def test_a_logits_processor_that_raises_ends_only_its_request(engine):
    def broken(tokens, logits):
        raise ValueError("no")

    outputs = run(
        engine,
        make_request("broken", _prompt(15, 9), logits_processors=(broken,)),
        make_request("fine", _prompt(16, 9)),
    )
    assert outputs["broken"][-1].error == "a logits processor failed: ValueError: no"
    assert len(tokens_of(outputs["fine"])) == 12


def test_a_prompt_as_long_as_the_context_is_refused(engine):
    with pytest.raises(PromptTooLongError) as caught:
        engine.prepare(make_request("a", [300] * 1024))
    assert (caught.value.n_prompt_tokens, caught.value.n_ctx) == (1024, 1024)


def test_memory_is_weights_cache_and_buffers(engine, random_llama_path):
    host = engine.memory.host
    n_weights = random_llama_path.stat().st_size
    assert 0.5 * n_weights < host.model <= n_weights
    # 2 layers, K and V, 2 heads of 16 floats of 16 bits, for each of the cells.
    assert host.context == 2 * 2 * 2 * 16 * 2 * engine.shape.n_cells
    assert host.compute > 0
    assert engine.memory.total == host.model + host.context + host.compute


def test_a_load_can_be_cancelled(random_llama_path):
    with pytest.raises(LoadCancelledError):
        load_engine(random_llama_path, progress=lambda fraction: False)


def test_a_closed_engine_has_freed_everything(random_llama_path):
    engine = _load(random_llama_path)
    engine.prepare(make_request("never added", [300]))
    engine.close()
    engine.close()
    assert engine.model.is_closed
    assert engine.context.is_closed
