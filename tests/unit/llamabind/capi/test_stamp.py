"""The run-time stamp check, on stamps made up here."""

import ctypes
import json
from dataclasses import replace

import pytest

from llamabind._capi import stamp
from llamabind._capi.stamp import MAIN_STRUCTS, Stamp, check_stamp, contradictions
from llamabind.errors import LibraryMismatchError
from tests.support.paths import ROOT

GOOD = Stamp(
    ggml_version=stamp.GGML_VERSION,
    ggml_commit=stamp.LLAMA_CPP_COMMIT[:9],
    llama_version=stamp.LLAMA_VERSION,
    has_shim=True,
    shim_commit=stamp.LLAMA_CPP_COMMIT,
    struct_sizes={name: ctypes.sizeof(struct) for name, struct in MAIN_STRUCTS.items()},
)


def test_the_bindings_describe_the_pinned_llama_cpp() -> None:
    pin = json.loads((ROOT / "vendor" / "llama.cpp.json").read_text(encoding="utf-8"))
    assert pin["commit"] == stamp.LLAMA_CPP_COMMIT
    assert pin["build_number"] == stamp.LLAMA_CPP_BUILD_NUMBER


def test_a_fitting_stamp_has_no_contradictions() -> None:
    assert list(contradictions(GOOD)) == []


@pytest.mark.parametrize("commit", [None, "", "unknown", "0c1e570-dirty", "0c1e57098"])
def test_a_build_that_knows_no_or_the_right_commit_fits(commit: str | None) -> None:
    assert list(contradictions(replace(GOOD, ggml_commit=commit, shim_commit=commit))) == []


def test_a_folder_without_the_shim_fits() -> None:
    without = replace(GOOD, has_shim=False, shim_commit=None, struct_sizes={})
    assert list(contradictions(without)) == []


def test_a_struct_the_shim_does_not_know_fits() -> None:
    sizes = {**GOOD.struct_sizes, "llama_batch": 0}
    assert list(contradictions(replace(GOOD, struct_sizes=sizes))) == []


@pytest.mark.parametrize(
    ("found", "clause"),
    [
        (replace(GOOD, ggml_version="0.26.0"), "libggml reports version 0.26.0, expected 0.25.3"),
        (replace(GOOD, ggml_version=None), "libggml reports version nothing, expected 0.25.3"),
        (
            replace(GOOD, llama_version="0.6.0"),
            "libllama reports version 0.6.0, expected 0.5.0-dev",
        ),
        (replace(GOOD, ggml_commit="deadbeef1"), "libggml is built from commit deadbeef1"),
        (replace(GOOD, shim_commit="deadbeef1"), "libllamabind is built from commit deadbeef1"),
        (replace(GOOD, struct_sizes={}), "libllamabind does not report the sizes of structs"),
        (
            replace(GOOD, struct_sizes={"llama_batch": 64}),
            "struct llama_batch has 64 bytes, but 56 are declared",
        ),
    ],
)
def test_each_contradiction_is_one_clause(found: Stamp, clause: str) -> None:
    assert list(contradictions(found)) == [clause]


def test_libraries_without_a_stamp_are_refused_with_a_sentence() -> None:
    with pytest.raises(LibraryMismatchError) as refused:
        check_stamp(lambda library: None)
    message = str(refused.value)
    assert "which describe llama.cpp b11312 (0c1e57098): libggml reports version nothing" in message
    assert "LLAMABIND_LIB_DIR" in message
    assert "LLAMABIND_SKIP_STAMP=1" in message


def test_the_check_can_be_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLAMABIND_SKIP_STAMP", "1")
    check_stamp(lambda library: pytest.fail(f"{library} was asked"))
