"""scripts/gpu_check's decisions about devices, answers, gaps and benchmarks; needs no GPU."""

import json
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from bench.servers import ServerFailedError
from gpucheck import __main__ as command_line
from gpucheck.answers import TOLERANCE, Comparison, Token, compare, read_tokens
from gpucheck.checks import (
    Checks,
    Setup,
    answer_lines,
    answers_result,
    benchmark_result,
    gap_result,
)
from gpucheck.devices import NoGpuError, find_gpus, nvidia_folders
from gpucheck.gap import GapReport, Step, from_json, proposal, report_lines, to_json
from gpucheck.models import VOCABULARY, make_model
from gpucheck.report import Result, exit_status, summary_lines

CPU = {"name": "CPU", "description": "a CPU", "kind": "cpu", "memory_total": 10**9}
GPU = {"name": "CUDA0", "description": "a GPU", "kind": "gpu", "memory_total": 80 * 10**9}


def _report(backends: Sequence[str], *devices: dict[str, Any]) -> dict[str, Any]:
    native = {"library_path": "/lib", "backends": list(backends), "devices": list(devices)}
    return {"native": native, "problem": None}


# -- devices


def test_a_gpu_is_found_and_named_with_its_memory():
    gpus = find_gpus(_report(["CUDA", "CPU"], GPU, CPU))
    assert [gpu.text() for gpu in gpus] == ["CUDA0 (a GPU, 80 GB)"]


@pytest.mark.parametrize(
    ("report", "sentence"),
    [
        (_report(["CPU"], CPU), r"/lib was built for the CPU only; .*-DGGML_CUDA=ON"),
        (_report(["RPC", "CPU"], CPU), r"/lib was built for the CPU only; .*-DGGML_CUDA=ON"),
        (_report(["CUDA", "CPU"], CPU), r"backend CUDA, which finds no device; .*nvidia-smi"),
        ({"native": None, "problem": "no libcuda.so.1"}, "cannot be used: no libcuda.so.1"),
    ],
)
def test_the_error_without_a_gpu_says_what_is_missing(report: dict[str, Any], sentence: str):
    with pytest.raises(NoGpuError, match=sentence):
        find_gpus(report)


@pytest.mark.parametrize("inner", ["nvidia/cu13/lib", "nvidia/cublas/lib"])
def test_nvidias_wheels_are_found_below_the_python_path(tmp_path: Path, inner: str):
    (tmp_path / inner).mkdir(parents=True)
    (tmp_path / "nvidia" / "cudnn" / "lib").mkdir(parents=True)
    assert nvidia_folders(["", "/no/such/folder", str(tmp_path)]) == [str(tmp_path / inner)]


# -- answers


def _answer(*tokens: tuple[str, float], **others: float) -> list[Token]:
    return [Token(text, logprob, {text: logprob, **others}) for text, logprob in tokens]


def test_equal_tokens_are_counted_and_their_largest_difference_is_kept():
    ours, theirs = _answer(("a", -0.5), ("b", -1.0)), _answer(("a", -0.5), ("b", -1.125))
    assert compare(ours, theirs) == Comparison(2, difference=0.125)


@pytest.mark.parametrize("logprob", [-0.5 - 1.1 * TOLERANCE, -6.7, math.nan, -math.inf])
def test_a_common_token_with_another_log_probability_is_a_fault(logprob: float):
    found = compare(_answer(("a", -0.5), ("b", logprob)), _answer(("a", -0.5), ("b", -0.5)))
    assert found.n_same == 1
    assert found.fault is not None
    assert "token 2, 'b', has log-probability" in found.fault


def test_different_tokens_of_about_equal_probability_are_a_near_tie():
    ours = _answer(("same", -0.1)) + _answer(("x", -0.7), y=-0.71) + _answer(("more", -9.0))
    theirs = _answer(("same", -0.1)) + _answer(("y", -0.7), x=-0.72)
    found = compare(ours, theirs)
    assert (found.n_same, found.fault) == (1, None)
    assert found.near_tie == (
        "token 2 is 'x', of the reference 'y'; more likely than the other one by 0.010 and 0.020"
    )


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (_answer(("x", -0.1), y=-3.0), _answer(("y", -0.7), x=-0.71)),
        (_answer(("x", -0.7), y=-0.71), _answer(("y", -0.1), x=-3.0)),
        (_answer(("x", -0.7)), _answer(("y", -0.7), x=-0.71)),
    ],
    ids=["ours is sure", "the reference is sure", "not among our likeliest"],
)
def test_different_tokens_are_a_fault_if_one_side_is_sure_of_its_own(
    ours: list[Token], theirs: list[Token]
):
    found = compare(ours, theirs)
    assert found.near_tie is None
    assert found.fault is not None
    assert "token 1 is 'x', of the reference 'y'" in found.fault


def test_an_answer_that_ends_early_is_a_fault_unless_its_end_was_nearly_as_probable():
    theirs = _answer(("a", -0.1))
    assert compare(theirs + _answer(("b", -0.7), end=-0.8), theirs).near_tie is not None
    assert compare(theirs, theirs + _answer(("b", -0.7), end=-0.8)).near_tie is not None
    assert compare(theirs, theirs + _answer(("b", -0.1), end=-4.0)).fault is not None
    assert compare([], theirs).fault is not None


def test_tokens_are_read_from_a_chat_completion():
    top = [{"token": "a", "logprob": -0.1}, {"token": "b", "logprob": -2.0}]
    content = [{"token": "a", "logprob": -0.1, "top_logprobs": top}]
    document = {"choices": [{"logprobs": {"content": content}}]}
    assert list(read_tokens(document)) == [Token("a", -0.1, {"a": -0.1, "b": -2.0})]


def test_the_answers_check_fails_on_a_fault_or_without_any_comparison():
    good = answers_result([Comparison(5, 0.01), Comparison(3, 0.02, near_tie="here")], [])
    assert good.is_good
    assert "8 tokens of 2 answers are the CPU's" in good.text
    assert "at most 0.0200 apart; 1 near ties" in good.text
    bad = answers_result([Comparison(5), Comparison(1, fault="wrong")], ["m.gguf: wrong"])
    assert not bad.is_good
    assert bad.text == "1 of 2 answers are not the CPU's: m.gguf: wrong"
    assert not answers_result([Comparison(0)], []).is_good


def test_near_ties_and_faults_are_printed_in_full():
    lines = answer_lines("m", [Comparison(2, 0.5, near_tie="here"), Comparison(1, fault="there")])
    assert lines == [
        "m: 3 tokens the same, log-probabilities at most 0.5000 apart",
        "  near tie: here",
        "  FAULT: there",
    ]


# -- gaps

STEPS = (Step(64, 0.008), Step(256, 0.02), Step(512, 0.0301), Step(2048, 0.12))


def test_the_proposed_gap_is_the_smallest_step_at_nine_tenths_of_the_best_rate():
    report = GapReport("m", 0.004, STEPS)
    assert report.enough == Step(512, 0.0301)
    assert proposal(report) == 0.035
    assert proposal(GapReport("m", 0.004, (Step(64, 0.01),))) == 0.01


def test_the_gap_report_says_which_steps_todays_constant_allows():
    lines = report_lines(GapReport("m", 0.004, STEPS), today=0.02)
    assert lines[0] == "m: a step of 16 decoding sequences takes 4.00 ms"
    assert "  today's 0.02 s allow steps of 256, 75% of the best rate" in lines
    assert lines[-1] == "  90% need 512: 0.0301 s"
    slow = report_lines(GapReport("m", 0.004, STEPS), today=0.001)
    assert "  today's 0.001 s is less than the time of the smallest step" in slow


def test_a_gap_report_survives_the_way_through_json():
    report = GapReport("m", 0.004, STEPS)
    assert from_json(to_json(report)) == report
    result = gap_result(report, today=0.08)
    assert result.is_good
    assert result.text == "proposal: LONGEST_GAP_ON_GPU = 0.035 (today 0.08)"


# -- the benchmark


def _goal(ratio: float, reached: bool | None) -> dict[str, Any]:
    spread = {"smallest": ratio, "median": ratio, "largest": ratio}
    return {"ours": "ours", "other": "peer-unified", "ratio": spread, "reached": reached}


def test_a_missed_goal_fails_the_benchmark_and_one_without_a_limit_does_not():
    scenario: dict[str, Any] = {
        "name": "single",
        "goals": [_goal(0.5, None), _goal(1.2, reached=True)],
    }
    good = benchmark_result({"scenarios": [scenario]}, is_complete=True)
    assert good.is_good
    assert good.text == "measured single; no goal missed"
    scenario["goals"].append(_goal(0.8, reached=False))
    bad = benchmark_result({"scenarios": [scenario]}, is_complete=True)
    assert not bad.is_good
    assert bad.text == "measured single; goals missed: single: ours / peer-unified = 0.80"


def test_the_result_says_if_the_benchmark_was_stopped_or_had_no_llama_server():
    scenario = {"name": "single", "goals": [_goal(1.0, reached=True)]}
    stopped = benchmark_result({"scenarios": [scenario]}, is_complete=False)
    assert not stopped.is_good
    assert "stopped early" in stopped.text
    assert not benchmark_result(None, is_complete=False).is_good
    alone = benchmark_result({"scenarios": [{"name": "single", "goals": []}]}, is_complete=True)
    assert "no llama-server was given" in alone.text


# -- the command


def test_the_summary_names_every_check_and_the_status_is_1_if_any_failed():
    results = [Result("devices", is_good=True, text="a GPU"), Result("gap", False, "broke")]
    assert list(summary_lines(results)) == [
        "summary:",
        "  devices   ok      a GPU",
        "  gap       FAILED  broke",
    ]
    assert exit_status(results) == 1
    assert exit_status(results[:1]) == 0


def _run(monkeypatch: pytest.MonkeyPatch, report: dict[str, Any], *arguments: str) -> int:
    monkeypatch.setattr(command_line, "library_report", lambda environment: report)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.setattr(sys, "argv", ["scripts/gpu_check", *arguments])
    return command_line.main()


def test_without_a_gpu_the_command_prints_the_error_and_exits_with_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    assert _run(monkeypatch, _report(["CPU"], CPU)) == 2
    assert capsys.readouterr().err.startswith("error: no GPU: the library in /lib")


def test_a_folder_without_lib_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    with pytest.raises(SystemExit, match="2"):
        _run(monkeypatch, _report(["CUDA"], GPU), str(tmp_path))
    assert "has no folder lib" in capsys.readouterr().err


def test_a_check_that_raises_fails_and_the_others_still_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    def broken(self: Checks) -> Result:
        raise ServerFailedError("our server did not start")

    monkeypatch.setattr(Checks, "answers", broken)
    monkeypatch.setattr(Checks, "gap", lambda self: Result("gap", is_good=True, text="fine"))
    monkeypatch.setattr(
        command_line, "make_model", lambda shape, folder, package: folder / "large.gguf"
    )
    (tmp_path / "lib").mkdir()
    file = tmp_path / "results.json"
    arguments = (str(tmp_path), "--only", "answers", "gap", "--json", str(file))
    assert _run(monkeypatch, _report(["CUDA", "CPU"], GPU, CPU), *arguments) == 1
    output = capsys.readouterr().out
    assert "answers   FAILED  our server did not start" in output
    assert "gap       ok      fine" in output
    written = json.loads(file.read_text(encoding="utf-8"))
    assert [result["is_good"] for result in written] == [True, False, True]


def test_gpu_layers_are_zero_only_with_cpu(tmp_path: Path):
    def setup(*, is_cpu: bool) -> Setup:
        return Setup([], None, tmp_path, deadline=math.inf, is_cpu=is_cpu, rounds=1)

    assert setup(is_cpu=True).gpu_layers == 0
    assert setup(is_cpu=False).gpu_layers == -1


def test_a_random_model_can_be_made_with_the_packages_vocabulary(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    written: list[tuple[Path, Path]] = []

    def write(path: Path, vocab_file: Path, shape: object) -> Path:
        written.append((path, vocab_file))
        return path

    monkeypatch.setattr("gpucheck.models.write_random_model", write)
    monkeypatch.setattr("gpucheck.models.random_model", lambda shape: Path("cached"))
    assert make_model("tiny", tmp_path, None) == Path("cached")
    assert make_model("tiny", tmp_path, tmp_path) == Path("cached")
    (tmp_path / VOCABULARY).touch()
    assert make_model("tiny", tmp_path, tmp_path) == tmp_path / "random-tiny.gguf"
    assert written == [(tmp_path / "random-tiny.gguf", tmp_path / VOCABULARY)]
