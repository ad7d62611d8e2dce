"""Models whose products a buffer type for repacked weights cannot compute are loaded without it.

The rule is for AMX. It is tested with whatever type this machine has first: the same products are
looked for, and the loader is asked in the same way.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from llamabind.native import extra_buffers
from llamabind.native.log import native_log
from llamabind.native.model import Model
from llamabind.native.model_params import ModelParams
from tests.support.random_architectures import ARCHITECTURES, write_random_architecture

pytestmark = pytest.mark.native

RECURRENT = {"qwen35", "mamba", "lfm2"}


@pytest.fixture
def first(monkeypatch: pytest.MonkeyPatch) -> str:
    """The first buffer type, held to what AMX's kernels can do."""
    names = extra_buffers.names()
    if not names:
        pytest.skip("this build has no buffer types for repacked weights")
    monkeypatch.setattr(extra_buffers, "_MATRICES_ONLY", frozenset({names[0]}))
    monkeypatch.setattr(extra_buffers, "_answers", {})
    return names[0]


@pytest.fixture
def write(tmp_path: Path, vocab_dir: Path) -> Callable[[str], Path]:
    def write(architecture: str) -> Path:
        path = tmp_path / f"{architecture}.gguf"
        vocab_file = vocab_dir / "ggml-vocab-llama-spm.gguf"
        return write_random_architecture(path, vocab_file, architecture, weight_type="q4_0")

    return write


def _holds_weights(buffer_type: str, path: Path, params: ModelParams | None = None) -> bool:
    extra_buffers.unfit_types(path, params or ModelParams())  # logs its layout, once
    position = native_log.position()
    with Model(path, params):
        lines = native_log.lines_since(position, logging.INFO)
    return any(f"{buffer_type} model buffer size" in line for line in lines)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_what_has_a_state_for_each_sequence_is_found_in_its_graph(first, write, architecture):
    path = write(architecture)
    with Model(path, ModelParams(use_extra_bufts=False)) as model:
        assert (model.is_recurrent or model.is_hybrid) == (architecture in RECURRENT)
    expected = architecture in RECURRENT
    if architecture in ("glm4moe", "qwen3moe"):
        expected = first != "AMX"  # takes no experts' weights; other types have kernels for them
    assert extra_buffers.unfit_types(path, ModelParams()) == ({first} if expected else set())


def test_only_a_model_that_a_buffer_type_cannot_compute_is_loaded_without_it(first, write):
    assert not _holds_weights(first, write("lfm2"))
    assert _holds_weights(first, write("llama"))


def test_models_loaded_at_once_each_get_buffers_that_compute_them_correctly(first, write):
    paths = {name: write(name) for name in ("lfm2", "llama", "mamba", "qwen3")}

    def left_out(name: str) -> bool:
        for _ in range(3):
            with Model(paths[name]) as model:
                assert model.n_layer == 4
        return bool(extra_buffers.unfit_types(paths[name], ModelParams()))

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(left_out, paths)) == [True, False, True, False]
    assert _holds_weights(first, paths["llama"])


def test_use_extra_bufts_true_keeps_every_type_and_warns(first, write, caplog):
    params = ModelParams(use_extra_bufts=True)
    with caplog.at_level(logging.WARNING, "llamabind.native.model"):
        assert _holds_weights(first, write("lfm2"), params)
        assert f"the kernels of {first} compute wrong results for this model" in caplog.text
        caplog.clear()
        assert _holds_weights(first, write("llama"), params)
    assert caplog.text == ""


def test_without_extra_types_nothing_is_looked_up(first, write, monkeypatch):
    monkeypatch.setattr(extra_buffers, "_find_unfit", lambda *_: pytest.fail("looked up"))
    assert not _holds_weights(first, write("lfm2"), ModelParams(use_extra_bufts=False))


def test_a_file_other_than_a_model_fails_as_before(first, tmp_path):
    path = tmp_path / "broken.gguf"
    path.write_bytes(b"GGUF" + b"\0" * 64)
    assert extra_buffers.unfit_types(path, ModelParams()) == frozenset()
