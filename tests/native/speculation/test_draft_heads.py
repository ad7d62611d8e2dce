"""HeadDrafter: a model's own heads (MTP) draft its next tokens; the answers stay the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from llamabind.engine.config import EngineConfig
from llamabind.engine.engine import Engine, load_engine
from llamabind.errors import DecodeFailedError, InvalidParameterError
from llamabind.gguf.draft_heads import AUTOMATIC
from llamabind.sampling.params import SamplingParams
from llamabind.speculation.head_drafter import HeadDrafter
from llamabind.speculation.step_cost import StepCost
from tests.support.engine_runs import (
    ENDLESS,
    Outputs,
    assert_same,
    make_request,
    run,
    tokens_of,
)
from tests.support.random_heads import Head, next_in_table, write_model_with_head

pytestmark = pytest.mark.native

ATTENTION, HYBRID = "glm4moe", "qwen35"


@pytest.fixture(autouse=True)
def _drafts_always_pay(monkeypatch):
    """Heads as large as a layer of a tiny model would not pay, so make drafting look free."""
    monkeypatch.setattr(StepCost, "base", 1e9)


@pytest.fixture(scope="module")
def models(tmp_path_factory, vocab_dir):
    """Write a model of an architecture with a kind of head, once."""
    folder, vocab = tmp_path_factory.mktemp("heads"), vocab_dir / "ggml-vocab-llama-spm.gguf"

    def write(name: str, head: Head) -> Path:
        path = folder / f"{name}-{head}.gguf"
        return path if path.exists() else write_model_with_head(path, vocab, name, head)

    return write


@pytest.fixture(params=[ATTENTION, HYBRID])
def architecture(request) -> str:
    return request.param


def _load(path: Path, **fields) -> Engine:
    fields = {"n_ctx": 2048, "n_parallel": 4, "n_batch": 256, "n_threads": 1, **fields}
    return load_engine(path, config=EngineConfig(**fields))


def _prompts(n: int, n_shared: int = 40) -> dict[str, list[int]]:
    random = np.random.default_rng(4)
    shared = random.integers(300, 30_000, n_shared).tolist()
    return {f"r{i}": [*shared, *random.integers(300, 30_000, 3 + i).tolist()] for i in range(n)}


def _run(engine: Engine, prompts: dict[str, list[int]], n: int = 24, **fields) -> Outputs:
    return run(
        engine, *(make_request(name, prompt, n, **fields) for name, prompt in prompts.items())
    )


def _assert_heads_have_all_cells(engine: Engine) -> None:
    """In every slot the heads' cells begin at its start, so none was computed without its past."""
    planner = engine._speculation
    assert planner is not None
    assert isinstance(planner.drafter, HeadDrafter)
    engine.flush_memory()
    for slot in engine.slots:
        planner.drafter._memory.catch_up(slot.seq_id)
        context = planner.drafter.context
        assert context.memory_seq_pos_max(slot.seq_id) == len(slot.tokens) - 1
        assert context.memory_seq_pos_min(slot.seq_id) == min(len(slot.tokens) - 1, 0)


def _table(prompt: list[int], n: int, n_vocab: int) -> list[int]:
    answer = [next_in_table(prompt[-1], n_vocab)]
    while len(answer) < n:
        answer.append(next_in_table(answer[-1], n_vocab))
    return answer


@pytest.mark.parametrize("kv_unified", [True, False])
def test_random_heads_change_no_answer(models, architecture, kv_unified):
    path = models(architecture, "random")
    with _load(path, speculative="off", kv_unified=kv_unified) as plain:
        expected = _run(plain, _prompts(4))
    with _load(path, kv_unified=kv_unified) as engine:
        got = _run(engine, _prompts(4))
        stats = engine.stats.speculation
        for name, prompt in _prompts(4).items():
            assert_same(engine.model, prompt, tokens_of(got[name]), tokens_of(expected[name]))
    assert stats.draft_tokens > 100
    assert stats.accepted_tokens < 0.1 * stats.draft_tokens


def test_a_head_that_predicts_well_has_its_drafts_accepted(models, architecture):
    with _load(models(architecture, "token")) as engine:
        got = _run(engine, _prompts(3))
        stats, n_vocab = engine.stats, engine.model.n_vocab
    for name, prompt in _prompts(3).items():
        assert tokens_of(got[name]) == _table(prompt, 24, n_vocab)
        timings = got[name][-1].timings
        assert timings is not None
        assert timings.draft_n == timings.draft_n_accepted > 12
    assert stats.speculation.accepted_tokens == stats.speculation.draft_tokens > 40
    assert sum(stats.speculation.accepted_per_position) == stats.speculation.accepted_tokens
    assert stats.steps < 14


@pytest.mark.parametrize("kv_unified", [True, False])
def test_the_head_reads_the_hidden_state_of_the_token_before(models, architecture, kv_unified):
    """Drafts are right only because their hidden states are: the model's, then the head's own."""
    with _load(models(architecture, "hidden"), kv_unified=kv_unified) as engine:
        for prompts in (_prompts(4), _prompts(1, 300), _prompts(2, 10)):
            got = _run(engine, prompts)
            for name, prompt in prompts.items():
                assert tokens_of(got[name]) == _table(prompt, 24, engine.model.n_vocab)
            _assert_heads_have_all_cells(engine)
        stats = engine.stats.speculation
    assert stats.accepted_tokens == stats.draft_tokens > 6


@pytest.mark.parametrize(("name", "n_heads"), [("qwen35moe", 1), ("hy_v3", 2)])
def test_the_first_head_of_other_architectures_drafts(tmp_path, vocab_dir, name, n_heads):
    vocab = vocab_dir / "ggml-vocab-llama-spm.gguf"
    path = write_model_with_head(tmp_path / "other.gguf", vocab, name, "hidden", n_heads)
    with _load(path) as engine:
        for n in (4, 1):
            got = _run(engine, _prompts(n))
            for request, prompt in _prompts(n).items():
                assert tokens_of(got[request]) == _table(prompt, 24, engine.model.n_vocab)
        stats = engine.stats.speculation
    assert stats.accepted_tokens == stats.draft_tokens > 60
    assert {ATTENTION, HYBRID, "qwen35moe", "hy_v3"} == AUTOMATIC


def test_requests_with_a_grammar_and_without_share_steps(models, architecture):
    path = models(architecture, "token")
    grammar = SamplingParams(temperature=0, grammar='root ::= ("a" | "b" | "c")+')

    def answers(engine: Engine) -> Outputs:
        prompts = _prompts(2)
        return run(
            engine,
            make_request("bound", prompts["r0"], 20, sampling=grammar),
            make_request("free", prompts["r1"], 20),
        )

    with _load(path, speculative="off") as plain, _load(path) as engine:
        expected, got = answers(plain), answers(engine)
        assert engine.stats.speculation.accepted_tokens > 0
    assert {name: tokens_of(outputs) for name, outputs in got.items()} == {
        name: tokens_of(outputs) for name, outputs in expected.items()
    }


def test_a_seed_gives_the_same_sampled_answer(models, architecture):
    path = models(architecture, "token")
    words = tuple((token, 100.0) for token in range(300, 303))
    sampling = SamplingParams(temperature=1.0, seed=1, logit_bias=words)
    with _load(path, speculative="off") as plain, _load(path) as engine:
        expected = _run(plain, _prompts(1), 60, sampling=sampling)
        got = _run(engine, _prompts(1), 60, sampling=sampling)
        assert engine.stats.speculation.draft_tokens > 0
    assert tokens_of(got["r0"]) == tokens_of(expected["r0"])


@pytest.mark.parametrize("cache_ram_mib", [0, 64])
def test_preempted_and_resumed_requests_draft_again(models, architecture, cache_ram_mib):
    """Four requests need 400 cells and more; 256 are there, so some are computed again."""
    path = models(architecture, "hidden")
    prompts = _prompts(4, 60)
    with _load(path, n_ctx=256, cache_ram_mib=cache_ram_mib) as engine:
        got = _run(engine, prompts, 48)
        stats = engine.stats
        if cache_ram_mib:
            _assert_heads_have_all_cells(engine)
        for name, prompt in prompts.items():
            assert tokens_of(got[name]) == _table(prompt, 48, engine.model.n_vocab)
    # Where a prefix is restored the hidden state before the next token is not known.
    assert stats.speculation.accepted_tokens > 0.9 * stats.speculation.draft_tokens > 80


def test_a_cancelled_request_leaves_a_slot_that_others_use(models, architecture):
    with _load(models(architecture, "hidden"), n_parallel=1) as engine:
        prompts = _prompts(3)
        for name in ("r0", "r1"):
            request = make_request(name, prompts[name], 24)
            engine.prepare(request)
            engine.add(request)
            for _ in range(4):
                engine.step()
            engine.cancel(name)
        got = _run(engine, {"r2": prompts["r2"]})
        assert tokens_of(got["r2"]) == _table(prompts["r2"], 24, engine.model.n_vocab)
        _assert_heads_have_all_cells(engine)
        stats = engine.stats.speculation
    assert stats.accepted_tokens == stats.draft_tokens > 6


def test_a_retained_prefix_keeps_the_cells_of_the_heads(models, architecture):
    """The second turn of a conversation begins with all tokens of the first."""
    with _load(models(architecture, "hidden")) as engine:
        first = _prompts(1)["r0"]
        answer = tokens_of(_run(engine, {"r0": first})["r0"])
        second = [*first, *answer, 500, 600]
        outputs = _run(engine, {"r1": second})["r1"]
        assert outputs[-1].usage.cached_tokens > len(first)
        assert tokens_of(outputs) == _table(second, 24, engine.model.n_vocab)
        _assert_heads_have_all_cells(engine)
        stats = engine.stats.speculation
    assert stats.accepted_tokens == stats.draft_tokens > 6


def test_an_answer_goes_on_after_a_context_shift(models, architecture):
    path = models(architecture, "hidden")
    with _load(path, n_ctx=256, n_parallel=1, context_shift=True) as engine:
        prompt = _prompts(1)["r0"]
        got = _run(engine, {"r0": prompt}, 400, sampling=ENDLESS)
        assert tokens_of(got["r0"]) == _table(prompt, 400, engine.model.n_vocab)
        stats = engine.stats.speculation
    assert stats.accepted_tokens > 0.9 * stats.draft_tokens > 200


def test_deterministic_answers_have_the_same_bits_with_heads(models):
    path = models(ATTENTION, "random")
    found, drafted = [], 0
    for kind in ("off", "auto"):
        with _load(path, speculative=kind, deterministic=True) as engine:
            outputs = _run(engine, _prompts(2), logprobs=2)
            found.append(
                [
                    entry.logprob
                    for name in outputs
                    for output in outputs[name]
                    for entry in output.logprobs
                ]
            )
            drafted = engine.stats.speculation.draft_tokens
    assert drafted > 50
    assert found[0] == found[1]


def test_heads_that_fail_to_compute_end_drafts_and_no_request(models, monkeypatch, caplog):
    with _load(models(ATTENTION, "token")) as engine:
        planner = engine._speculation
        assert planner is not None
        assert isinstance(planner.drafter, HeadDrafter)

        def fail(batch):
            raise DecodeFailedError(-3, "broken on purpose")

        monkeypatch.setattr(planner.drafter.context, "decode", fail)
        prompt = _prompts(1)["r0"]
        got = _run(engine, {"r0": prompt})
        assert tokens_of(got["r0"]) == _table(prompt, 24, engine.model.n_vocab)
        assert engine.stats.speculation.draft_tokens == 0
    assert "the draft heads failed" in caplog.text


def test_draft_p_min_ends_drafts(models):
    with _load(models(ATTENTION, "random"), draft_p_min=1.0) as engine:
        assert len(tokens_of(_run(engine, _prompts(1))["r0"])) == 24
        assert engine.stats.speculation.draft_tokens == 0


def test_the_memory_of_the_heads_is_counted(models, architecture):
    path = models(architecture, "hidden")
    with _load(path, speculative="off") as plain, _load(path) as engine:
        assert engine.memory.host.model > plain.memory.host.model + 90_000
        assert engine.memory.host.context > plain.memory.host.context


def test_a_recurrent_state_is_kept_for_each_token_that_may_be_rejected(models):
    path = models(HYBRID, "random")
    with _load(path, speculative="off") as plain, _load(path, draft_max=2) as engine:
        assert plain.context.n_rs_seq == 0
        assert engine.context.n_rs_seq == 2
        assert engine.stats.speculation.draft_tokens == 0


def test_mtp_for_a_model_without_heads_is_refused(random_llama_path):
    with pytest.raises(InvalidParameterError, match="the model has no draft heads") as caught:
        _load(random_llama_path, speculative="mtp")
    assert caught.value.field == "speculative"


@pytest.mark.parametrize("kind", ["auto", "mtp"])
def test_a_file_that_names_heads_without_their_tensors(tmp_path, vocab_dir, kind):
    vocab = vocab_dir / "ggml-vocab-llama-spm.gguf"
    path = write_model_with_head(tmp_path / "broken.gguf", vocab, ATTENTION, "no tensors")
    if kind == "mtp":
        with pytest.raises(InvalidParameterError, match=r"has no tensor blk\.4\.nextn\.eh_proj"):
            _load(path, speculative=kind)
    else:
        with _load(path) as engine:
            assert len(tokens_of(_run(engine, _prompts(1))["r0"])) == 24
            assert engine.stats.speculation.draft_tokens == 0
