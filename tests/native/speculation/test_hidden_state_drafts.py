"""Draft models that read the model's hidden states: Gemma 4's assistants and EAGLE-3."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from llamabind.engine.config import EngineConfig
from llamabind.engine.engine import Engine, load_engine
from llamabind.errors import InvalidParameterError
from llamabind.gguf.draft_heads import HEAD_ARCHITECTURES
from llamabind.memory_estimate import estimate_draft, estimate_memory
from llamabind.native.model_params import ModelParams
from llamabind.speculation.step_cost import StepCost
from tests.support.engine_runs import Outputs, make_request, run, tokens_of
from tests.support.random_architectures import (
    Metadata,
    Tensors,
    Weights,
    write_random_architecture,
)
from tests.support.random_draft_models import write_assistant, write_eagle3
from tests.support.random_heads import (
    Head,
    make_table,
    next_in_table,
    write_model_with_head,
)

pytestmark = pytest.mark.native

VOCAB = "ggml-vocab-llama-spm.gguf"


@pytest.fixture(autouse=True)
def _drafts_always_pay(monkeypatch):
    monkeypatch.setattr(StepCost, "base", 1e9)


class _Files:
    """Tables of some architectures, and draft models for them."""

    def __init__(self, folder: Path, vocab: Path) -> None:
        self._folder = folder
        self._vocab = vocab
        self._tensors: Tensors = {}

    def table(self, name: str) -> Path:
        def change(weights: Weights, metadata: Metadata, tensors: Tensors) -> None:
            make_table(tensors)
            self._tensors = tensors

        path = self._folder / f"{name}.gguf"
        return write_random_architecture(path, self._vocab, name, change=change)

    def assistant(self, head: Head) -> Path:
        return write_assistant(
            self._folder / f"assistant-{head}.gguf", self._vocab, self._tensors, head
        )

    def head_alone(self, name: str) -> Path:
        return write_model_with_head(self._folder / "mtp-head.gguf", self._vocab, name, "alone")

    def eagle3(self, head: Head, n_embd_target: int = 0) -> Path:
        path = self._folder / f"eagle3-{head}.gguf"
        return write_eagle3(path, self._vocab, self._tensors, head, n_embd_target)


@pytest.fixture
def files(tmp_path, vocab_dir) -> _Files:
    return _Files(tmp_path, vocab_dir / VOCAB)


def _load(path: Path, draft: Path, **fields) -> Engine:
    sizes = {"n_ctx": 1024, "n_parallel": 4, "n_batch": 256, "n_threads": 1, **fields}
    return load_engine(path, config=EngineConfig(draft_model=draft, **sizes))


def _prompts(n: int) -> dict[str, list[int]]:
    random = np.random.default_rng(4)
    shared = random.integers(300, 30_000, 40).tolist()
    return {f"r{i}": [*shared, *random.integers(300, 30_000, 3 + i).tolist()] for i in range(n)}


def _run(engine: Engine, n: int = 4) -> Outputs:
    """Run requests that share a prefix; assert that the answers are the table's."""
    prompts = _prompts(n)
    got = run(engine, *(make_request(name, prompt, 24) for name, prompt in prompts.items()))
    for name, prompt in prompts.items():
        answer = [prompt[-1]]
        while len(answer) < 25:
            answer.append(next_in_table(answer[-1], engine.model.n_vocab))
        assert tokens_of(got[name]) == answer[1:]
    return got


@pytest.mark.parametrize("head", ["token", "hidden"])
@pytest.mark.parametrize("kv_unified", [True, False])
def test_an_assistant_drafts_for_gemma4(files, head, kv_unified):
    model = files.table("gemma4")
    with _load(model, files.assistant(head), kv_unified=kv_unified) as engine:
        for n in (4, 1, 2):
            _run(engine, n)
        stats = engine.stats.speculation
    assert stats.accepted_tokens == stats.draft_tokens > 80


@pytest.mark.parametrize("architecture", ["glm4moe", "qwen35"])
def test_heads_in_a_file_of_their_own_draft_for_their_model(files, architecture):
    head = files.head_alone(architecture)
    with _load(files.table(architecture), head) as engine:
        for n in (4, 1, 2):
            _run(engine, n)
        stats = engine.stats.speculation
    assert stats.accepted_tokens == stats.draft_tokens > 80


def test_heads_in_a_file_of_their_own_are_no_model_with_heads(files):
    with pytest.raises(InvalidParameterError, match="load it as draft_model"):
        load_engine(files.head_alone("glm4moe"), config=EngineConfig(speculative="mtp"))


@pytest.mark.parametrize("architecture", ["llama", "qwen35"])
@pytest.mark.parametrize("kv_unified", [True, False])
def test_eagle3_drafts_from_what_the_models_layers_read(files, architecture, kv_unified):
    """Of this draft model the first token of a draft is right, and no other."""
    model = files.table(architecture)
    with _load(model, files.eagle3("hidden"), kv_unified=kv_unified) as engine:
        for n in (4, 1, 2):
            _run(engine, n)
        stats = engine.stats.speculation
    assert stats.accepted_per_position == (stats.drafts,)
    assert stats.drafts > 40


@pytest.mark.parametrize("kind", ["assistant", "eagle3"])
def test_wrong_drafts_change_no_answer(files, kind):
    model = files.table("gemma4")
    with _load(model, getattr(files, kind)("random")) as engine:
        _run(engine)
        stats = engine.stats.speculation
    assert stats.draft_tokens > 100
    assert stats.accepted_tokens < 0.1 * stats.draft_tokens


@pytest.mark.parametrize("kind", ["assistant", "eagle3"])
def test_preempted_requests_draft_again(files, kind):
    model = files.table("gemma4")
    with _load(model, getattr(files, kind)("hidden"), n_ctx=256) as engine:
        _run(engine, 8)
        stats = engine.stats.speculation
    assert stats.accepted_tokens > 40


def test_an_assistant_of_another_family_is_refused(files):
    files.table("gemma4")
    assistant = files.assistant("random")
    with pytest.raises(InvalidParameterError, match="made for another model") as caught:
        _load(files.table("llama"), assistant)
    assert caught.value.field == "draft_model"


def test_eagle3_of_a_model_with_another_width_is_refused(files):
    model = files.table("llama")
    with pytest.raises(InvalidParameterError, match="expects width 96, but the model has 64"):
        _load(model, files.eagle3("random", n_embd_target=96))


def test_eagle3_for_a_model_that_llama_cpp_cannot_read_layers_of_is_refused(files):
    model = files.table("qwen2")
    with pytest.raises(InvalidParameterError, match="no EAGLE-3 for qwen2 models"):
        _load(model, files.eagle3("random"))


@pytest.mark.parametrize("kind", ["assistant", "eagle3"])
def test_the_estimate_is_what_the_draft_model_takes(files, kind):
    model = files.table("gemma4")
    draft = getattr(files, kind)("random")
    config = EngineConfig(draft_model=draft, n_ctx=1024, n_parallel=4, n_batch=256, n_threads=1)
    alone = estimate_memory(model, ModelParams(), config).report
    small = estimate_draft(draft, ModelParams(), model, ModelParams(), config)
    with _load(model, draft) as engine:
        used = engine.memory.host
    assert used.model == pytest.approx(alone.host.model + small.host.model, rel=0.01)
    assert used.context == alone.host.context + small.host.context


def test_the_architectures_with_heads_are_those_whose_graphs_llama_cpp_has(vocab_dir):
    sources = (vocab_dir.parent / "src" / "models").glob("*.cpp")
    marked = {path.stem for path in sources if "GRAPH_TYPE_DECODER_MTP" in path.read_text()}

    def plain(names) -> set[str]:
        return {name.replace("-", "").replace("_", "") for name in names}

    # deepseek4's memory cannot be cut.
    assert plain(HEAD_ARCHITECTURES) == plain(marked) - {"deepseek4"}
