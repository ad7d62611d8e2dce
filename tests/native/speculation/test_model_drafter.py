"""ModelDrafter: a small model drafts for a larger one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from llamabind.engine.config import EngineConfig
from llamabind.engine.engine import Engine, load_engine
from llamabind.errors import InvalidParameterError, ModelLoadError
from llamabind.sampling.params import SamplingParams
from llamabind.speculation.step_cost import StepCost
from tests.support.engine_runs import Outputs, assert_same, make_request, run, tokens_of
from tests.support.random_gguf import write_random_llama

pytestmark = pytest.mark.native


@pytest.fixture(autouse=True)
def _drafts_always_pay(monkeypatch):
    """A draft model as large as the model would not pay, so make drafting look free."""
    monkeypatch.setattr(StepCost, "base", 1e9)


@pytest.fixture(scope="module")
def other_path(tmp_path_factory, vocab_dir) -> Path:
    """A model with the same vocabulary and other weights, so its drafts are wrong."""
    path = tmp_path_factory.mktemp("models") / "other.gguf"
    return write_random_llama(path, vocab_dir / "ggml-vocab-llama-spm.gguf", seed=2)


def _load(path: Path, **fields) -> Engine:
    fields = {"n_ctx": 1024, "n_parallel": 4, "n_batch": 256, "n_threads": 1, **fields}
    return load_engine(path, config=EngineConfig(**fields))


def _run(engine: Engine, prompts: dict[str, list[int]], **fields) -> Outputs:
    requests = (make_request(name, prompt, 24, **fields) for name, prompt in prompts.items())
    return run(engine, *requests)


def _prompts(n: int) -> dict[str, list[int]]:
    random = np.random.default_rng(4)
    shared = random.integers(300, 30_000, 40).tolist()
    return {f"r{i}": [*shared, *random.integers(300, 30_000, 3 + i).tolist()] for i in range(n)}


@pytest.mark.parametrize("kv_unified", [True, False])
def test_the_model_as_its_own_draft_model_has_nearly_all_drafts_accepted(
    random_llama_path, kv_unified
):
    with _load(random_llama_path, kv_unified=kv_unified) as plain:
        expected = _run(plain, _prompts(4))
        n_steps = plain.stats.steps
    with _load(
        random_llama_path, draft_model=random_llama_path, draft_max=5, kv_unified=kv_unified
    ) as engine:
        got = _run(engine, _prompts(4))
        stats = engine.stats
        for name, prompt in _prompts(4).items():
            assert_same(engine.model, prompt, tokens_of(got[name]), tokens_of(expected[name]))
    assert stats.speculation.accepted_tokens > 0.9 * stats.speculation.draft_tokens > 20
    assert stats.steps < n_steps / 2


def test_a_draft_model_with_rejected_drafts_changes_no_answer(random_llama_path, other_path):
    with _load(random_llama_path) as plain:
        expected = _run(plain, _prompts(1))
    with _load(random_llama_path, draft_model=str(other_path), draft_max=4) as engine:
        got = _run(engine, _prompts(1))
        stats = engine.stats.speculation
        prompt, answer = _prompts(1)["r0"], tokens_of(expected["r0"])
        assert_same(engine.model, prompt, tokens_of(got["r0"]), answer)
    assert stats.draft_tokens > 0
    assert stats.accepted_tokens < 0.3 * stats.draft_tokens


def test_a_sampled_answer_is_that_of_its_seed(random_llama_path):
    words = tuple((token, 100.0) for token in range(300, 303))
    sampling = SamplingParams(temperature=1.0, seed=1, logit_bias=words)
    with _load(random_llama_path) as plain:
        expected = _run(plain, _prompts(1), sampling=sampling)
    with _load(random_llama_path, draft_model=random_llama_path) as engine:
        got = _run(engine, _prompts(1), sampling=sampling)
        assert engine.stats.speculation.draft_tokens > 0
    assert tokens_of(got["r0"]) == tokens_of(expected["r0"])


def test_a_draft_model_below_draft_p_min_drafts_nothing(random_llama_path):
    with _load(random_llama_path, draft_model=random_llama_path, draft_p_min=1.0) as engine:
        outputs = _run(engine, _prompts(1))
        assert engine.stats.speculation.draft_tokens == 0
    assert len(tokens_of(outputs["r0"])) == 24


def test_a_draft_model_with_another_vocabulary_is_refused(random_llama_path, tmp_path, vocab_dir):
    other = write_random_llama(tmp_path / "gpt2.gguf", vocab_dir / "ggml-vocab-gpt-2.gguf")
    with pytest.raises(
        InvalidParameterError, match="vocabulary differs from the model's"
    ) as caught:
        _load(random_llama_path, draft_model=other)
    assert caught.value.field == "draft_model"


def test_a_missing_draft_model_is_a_failed_load(random_llama_path, tmp_path):
    with pytest.raises(ModelLoadError):
        _load(random_llama_path, draft_model=tmp_path / "nothing.gguf")


def test_the_memory_of_the_draft_model_is_counted(random_llama_path):
    with _load(random_llama_path) as plain:
        alone = plain.memory
    with _load(random_llama_path, draft_model=random_llama_path) as engine:
        assert engine.memory.host.model == 2 * alone.host.model
        assert engine.memory.host.context == 2 * alone.host.context


def test_requests_start_and_end_and_the_draft_model_is_closed_with_the_engine(random_llama_path):
    with _load(random_llama_path, draft_model=random_llama_path, n_parallel=2) as engine:
        for n in (2, 4, 1):
            _run(engine, _prompts(n))
        assert engine.stats.speculation.accepted_tokens > 0
        engine.close()
        engine.close()
