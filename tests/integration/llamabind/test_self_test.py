"""The self test's verdict on a process that answers wrongly, dies, hangs or cannot start."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from llamabind import self_test
from llamabind.self_test import DeviceSpeed, SelfTestResult, main, run_self_test
from tests.support.cmake_project import program
from tests.support.paths import ROOT

SCRIPT = ROOT / "scripts" / "run_self_test.cmake"
WAY_OUT = 'CMAKE_ARGS="-DGGML_NATIVE=OFF -DGGML_BACKEND_DL=ON -DGGML_CPU_ALL_VARIANTS=ON"'


def _python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code)


@pytest.fixture(autouse=True)
def built_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(self_test, "_built_for", lambda: "AVX-512 and AMX")


def test_speeds_of_a_build_that_computes_right_are_passed_on() -> None:
    answer: dict[str, Any] = {
        "status": "ok",
        "detail": "CUDA0 was not tested: no context",
        "devices": [{"name": "CPU", "prompt_tokens_per_second": 9.5, "tokens_per_second": 1.5}],
    }
    result = run_self_test(command=_python(f"print({json.dumps(answer)!r})"))
    assert result == SelfTestResult("ok", answer["detail"], (DeviceSpeed("CPU", 9.5, 1.5),))


@pytest.mark.parametrize(
    ("code", "what"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", "was killed by SIGILL"),
        ("import sys; sys.exit('no such thing')", "ended with status 1 (no such thing)"),
        ("print('[]')", "ended with status 0"),
        (
            """print('{"status": "failed", "detail": "computes wrong on CPU", "devices": []}')""",
            "computes wrong on CPU",
        ),
    ],
)
def test_a_failure_is_a_sentence_with_the_instruction_set_and_the_way_out(
    code: str, what: str
) -> None:
    result = run_self_test(command=_python(code))
    assert result.status == "failed"
    assert result.devices == ()
    expected = (
        f"the self test of the native libraries, which were built for AVX-512 and AMX, {what}"
    )
    assert result.detail.startswith(expected)
    assert WAY_OUT in result.detail
    assert "\n" not in result.detail


def test_a_process_that_hangs_is_ended_and_counts_as_failed() -> None:
    result = run_self_test(time_limit=0.5, command=_python("import time; time.sleep(600)"))
    assert result.status == "failed"
    assert "gave no result within 0.5 s" in result.detail


def test_a_process_that_cannot_be_started_is_no_failure_of_the_build() -> None:
    result = run_self_test(command=("/no/such/program",))
    assert result.status == "untestable"
    assert "cannot be started" in result.detail


@pytest.mark.parametrize(
    ("result", "status", "text"),
    [
        (SelfTestResult("failed", "it computes wrong"), 1, "it computes wrong"),
        (SelfTestResult("untestable", "libcuda.so.1 is missing"), 3, "libcuda.so.1 is missing"),
    ],
)
def test_the_exit_status_is_the_result_for_the_build(
    result: SelfTestResult,
    status: int,
    text: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(self_test, "run_self_test", lambda **_: result)
    assert main([]) == status
    assert capsys.readouterr().out == f"{text}\n"
    assert main(["--json"]) == status
    assert json.loads(capsys.readouterr().out)["status"] == result.status


def _install_step(
    tmp_path: Path, status: int, *, cross: str = "", environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """What `cmake --install` runs, with a Python that says a sentence and exits with `status`."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\necho "heard $3 $4 $5"\nexit {status}\n')
    python.chmod(0o755)
    given = {"checkout": tmp_path, "python": python, "libraries": "/lib", "is_cross_build": cross}
    return subprocess.run(
        [program("cmake"), *(f"-D{name}={value}" for name, value in given.items()), "-P", SCRIPT],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin"} | (environment or {}),
    )


@pytest.mark.parametrize(
    ("status", "install", "words"),
    [
        (0, 0, "heard --lib-dir /lib"),
        (1, 1, "LLAMABIND_SELF_TEST=off to install it without the test"),
        (132, 1, "heard --lib-dir /lib"),
        (3, 0, "this build was not tested: heard --lib-dir /lib"),
    ],
)
def test_an_install_fails_if_its_libraries_do_not_compute(
    tmp_path: Path, status: int, install: int, words: str
) -> None:
    done = _install_step(tmp_path, status)
    assert done.returncode == install
    assert words in " ".join((done.stdout + done.stderr).split())


def test_the_self_test_is_left_out_of_cross_builds_and_on_request(tmp_path: Path) -> None:
    for done in (
        _install_step(tmp_path, 1, cross="TRUE"),
        _install_step(tmp_path, 1, environment={"LLAMABIND_SELF_TEST": "off"}),
    ):
        assert done.returncode == 0
        assert "heard" not in done.stdout + done.stderr
        assert "llamabind: " in done.stdout
