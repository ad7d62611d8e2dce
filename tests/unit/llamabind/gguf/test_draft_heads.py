"""find_draft_heads: which files have heads that can be used, and why others' cannot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gguf_writer import encode_entries, write_gguf

from llamabind.errors import GgufError
from llamabind.gguf.draft_heads import (
    AUTOMATIC,
    HEAD_ARCHITECTURES,
    DraftHeads,
    find_draft_heads,
)

TRUNK = ("blk.0.attn_norm",)
HEAD = ("blk.2.nextn.eh_proj", "blk.2.nextn.enorm", "blk.2.nextn.hnorm")


def _write(
    path: Path, tensors: tuple[str, ...], architecture: str = "qwen35", n_heads: int = 1
) -> Path:
    metadata: dict[str, bool | int | float | str] = {
        "general.architecture": architecture,
        f"{architecture}.block_count": 2 + n_heads,
        f"{architecture}.nextn_predict_layers": n_heads,
    }
    weights = {f"{name}.weight": np.zeros(4, np.float32) for name in tensors}
    return write_gguf(path, encode_entries(metadata), weights)


def test_heads_with_all_their_tensors_can_be_used(tmp_path):
    path = _write(tmp_path / "a.gguf", TRUNK + HEAD)
    assert find_draft_heads([path]) == DraftHeads(1, is_automatic=True)


def test_the_tensors_of_a_split_model_may_be_in_any_shard(tmp_path):
    shards = [
        _write(tmp_path / "a-00001-of-00002.gguf", TRUNK),
        _write(tmp_path / "a-00002-of-00002.gguf", HEAD),
    ]
    assert find_draft_heads(shards) == DraftHeads(1, is_automatic=True)


def test_a_model_that_names_no_heads_has_none(tmp_path):
    assert find_draft_heads([_write(tmp_path / "a.gguf", TRUNK, n_heads=0)]) is None


@pytest.mark.parametrize("missing", HEAD)
def test_a_missing_tensor_is_a_problem_that_names_it(tmp_path, missing):
    kept = tuple(name for name in HEAD if name != missing)
    heads = find_draft_heads([_write(tmp_path / "a.gguf", TRUNK + kept)])
    assert heads is not None
    assert heads.problem == f"the file names 1 draft heads but has no tensor {missing}.weight"


def test_an_architecture_whose_heads_llama_cpp_does_not_compute_is_a_problem(tmp_path):
    heads = find_draft_heads([_write(tmp_path / "a.gguf", TRUNK + HEAD, "exaone-moe")])
    assert heads is not None
    assert "does not compute the draft heads of exaone-moe" in (heads.problem or "")


def test_several_heads_are_used_only_where_the_graph_accepts_them(tmp_path):
    two = find_draft_heads([_write(tmp_path / "a.gguf", TRUNK + HEAD, n_heads=2)])
    assert two is not None
    assert two.problem == "this llama.cpp computes one draft head of qwen35 models, not 2"
    three = find_draft_heads([_write(tmp_path / "b.gguf", TRUNK + HEAD, "step35", n_heads=3)])
    assert three == DraftHeads(3)


def test_a_file_of_heads_alone_is_told_from_a_model(tmp_path):
    heads = find_draft_heads([_write(tmp_path / "a.gguf", HEAD)])
    assert heads == DraftHeads(1, is_alone=True)


def test_a_damaged_file_raises(tmp_path):
    path = _write(tmp_path / "a.gguf", TRUNK + HEAD)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(GgufError):
        find_draft_heads([path])


def test_a_file_that_was_replaced_is_read_again(tmp_path):
    path = _write(tmp_path / "a.gguf", TRUNK + HEAD)
    assert find_draft_heads([path]) == DraftHeads(1, is_automatic=True)
    _write(path, TRUNK, n_heads=0)
    assert find_draft_heads([path]) is None


def test_heads_of_architectures_without_tests_are_used_only_if_asked_for(tmp_path):
    heads = find_draft_heads([_write(tmp_path / "a.gguf", TRUNK + HEAD, "deepseek2")])
    assert heads == DraftHeads(1)
    assert AUTOMATIC <= HEAD_ARCHITECTURES
