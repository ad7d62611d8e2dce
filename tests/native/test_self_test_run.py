"""The self test with the real libraries: it passes, and it fails on wrong values."""

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from llamabind._capi.loader import library_directory
from llamabind.self_test import run_self_test
from llamabind.self_test_run import KNOWN, MODEL, check_everything, read_known
from tests.support.paths import ROOT

pytestmark = pytest.mark.native


def _changed(tmp_path: Path, **fields: Any) -> tuple[str, ...]:
    known = json.loads(KNOWN.read_text()) | fields
    (tmp_path / "known.json").write_text(json.dumps(known))
    file = str(tmp_path / "known.json")
    return (sys.executable, "-m", "llamabind.self_test_run", "--known", file)


def test_this_build_passes_with_the_standard_library_alone() -> None:
    """Run Python without site-packages: pip's isolated build environment lacks our dependencies."""
    environment = {"PYTHONPATH": str(ROOT), "LLAMABIND_LIB_DIR": str(library_directory())}
    done = subprocess.run(
        [sys.executable, "-S", "-m", "llamabind.self_test_run"],
        env={"PATH": os.environ["PATH"]} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["status"] == "ok"
    assert next(device["name"] for device in answer["devices"]) == "CPU"
    assert all(device["tokens_per_second"] > 0 for device in answer["devices"])


def test_one_wrong_token_in_the_batch_fails(tmp_path: Path) -> None:
    known = read_known(KNOWN)
    best = [*known.best[:40], known.best[40] + 1, *known.best[41:]]
    assert known.margins[40] > 5
    result = run_self_test(command=_changed(tmp_path, best=best))
    assert result.status == "failed"
    assert f"most likely token after token 40 of 64 is {known.best[40]}" in result.detail


def test_another_token_of_a_near_tie_passes(tmp_path: Path) -> None:
    known = read_known(KNOWN)
    close = known.margins.index(min(known.margins))
    best = [token + (index == close) for index, token in enumerate(known.best)]
    assert run_self_test(command=_changed(tmp_path, best=best)).status == "ok"


def test_a_wrong_answer_token_by_token_fails(tmp_path: Path) -> None:
    known = read_known(KNOWN)
    answer = [*known.answer[:-1], known.answer[-1] + 1]
    result = run_self_test(command=_changed(tmp_path, answer=answer))
    assert result.status == "failed"
    assert "correct is" in result.detail
    assert '("The capital of France is Paris.")' in result.detail


def test_known_answers_of_another_model_file_are_not_compared(tmp_path: Path) -> None:
    result = run_self_test(command=_changed(tmp_path, model_sha256="0" * 64))
    assert result.status == "untestable"
    assert "made with a different file" in result.detail


def test_the_known_answers_belong_to_the_bundled_model() -> None:
    known = read_known(KNOWN)
    assert known.model_sha256 == hashlib.sha256(MODEL.read_bytes()).hexdigest()
    assert len(known.prompt) == len(known.best) == len(known.margins) == 64
    # Most positions are compared; near ties, which are not, are few.
    assert sum(margin >= 1.0 for margin in known.margins) >= 50


@pytest.mark.parametrize(
    ("libraries", "status", "words"),
    [
        (
            "libcuda.so.1: cannot open shared object file: No such file",
            "untestable",
            "which is part of a GPU driver",
        ),
        ("libcudart.so.13: cannot open shared object file: No such file", "failed", "libcudart"),
    ],
)
def test_only_a_missing_gpu_driver_makes_a_build_untestable(
    libraries: str, status: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from llamabind import self_test_run
    from llamabind.errors import LibraryError

    def start() -> None:
        raise LibraryError(f"libggml-cuda.so cannot be loaded: {libraries}")

    monkeypatch.setattr(self_test_run, "_start", start)
    result = asdict(check_everything(MODEL, read_known(KNOWN)))
    assert result["status"] == status
    assert words in result["detail"]
