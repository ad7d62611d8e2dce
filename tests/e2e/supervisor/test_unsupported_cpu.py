"""On a CPU without the libraries' instruction sets, emulated by qemu: an error and no SIGILL.

qemu-x86_64 (Debian's qemu-user) runs Python on an emulated CPU. Without it these tests are skipped;
.ci/run installs it.
"""

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from llamabind._capi.cpu_features import read_cpu_report
from llamabind._capi.loader import cpu_library
from tests.support.paths import ROOT
from tests.support.server_process import TINY, ServerProcess

pytestmark = pytest.mark.e2e
MODEL = ROOT / "llamabind" / "models" / TINY


@pytest.fixture(scope="module")
def old_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A program that runs our Python on a CPU that is too old for these libraries."""
    qemu = shutil.which("qemu-x86_64")
    if qemu is None:
        pytest.skip("needs qemu-x86_64 (Debian and Ubuntu: apt install qemu-user)")
    report = read_cpu_report(cpu_library())
    needed = report.needed if report else ()
    if "avx" not in needed:
        pytest.skip("these libraries run on every x86-64 CPU that qemu emulates")
    cpu = "Haswell" if "avx512f" in needed else "Nehalem"
    wrapper = tmp_path_factory.mktemp("qemu") / "python"
    wrapper.write_text(f'#!/bin/sh\nexec {qemu} -cpu {cpu} {sys.executable} "$@"\n')
    wrapper.chmod(wrapper.stat().st_mode | stat.S_IXUSR)
    return str(wrapper)


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


def test_the_report_names_the_missing_instruction_sets_and_exits_with_1(old_python: str) -> None:
    done = _run(old_python, "-m", "llamabind", "--json")
    assert done.returncode == 1, done.stderr
    problem = json.loads(done.stdout)["problem"]
    assert "the native libraries were built for a CPU with AVX" in problem
    assert "lacks " in problem
    assert "pip install --force-reinstall --no-deps ." in problem


def test_llm_raises_unsupported_cpu_error_with_the_same_message(old_python: str) -> None:
    code = f"import llamabind; llamabind.LLM({str(MODEL)!r})"
    done = _run(old_python, "-c", code)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("llamabind.errors.UnsupportedCpuError: the native libraries were built")


def test_the_self_test_reports_the_build_as_untestable(old_python: str) -> None:
    done = _run(old_python, "-m", "llamabind.self_test_run")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["status"] == "untestable"
    assert "lacks " in answer["detail"]


# Starting a worker process in qemu is slow.
@pytest.mark.timeout(300)
def test_a_server_answers_unsupported_cpu(
    old_python: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(MODEL, tmp_path)
    # The server runs natively and starts workers with sys.executable.
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        "import os, sys\nsys.executable = os.environ['WORKERS_PYTHON']\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{site}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setenv("WORKERS_PYTHON", old_python)
    with ServerProcess(tmp_path) as server:
        path = f"/api/v2/models/{TINY}"
        status, document = server.request("POST", f"{path}/load")
        error = document["error"]
        assert (status, error["code"], error["reason"]) == (
            501,
            "unsupported_cpu",
            "unsupported_cpu",
        )
        assert "the native libraries were built for a CPU with AVX" in error["message"]
        assert "pip install --force-reinstall --no-deps ." in error["message"]
        failure = server.get(path)["failure"]
        assert failure["reason"] == "unsupported_cpu"
        assert failure["detail"] in error["message"]
        assert "unsupported_cpu: the native" in server.get("/api/v2/health")["last_error"]
        # The server does not start the worker again, so this answer needs no process.
        chat = {"messages": [{"role": "user", "content": "Hello"}]}
        status, document = server.request("POST", f"/api/v2/chat/{TINY}", chat)
        assert (status, document["error"]["code"]) == (501, "unsupported_cpu")
        assert server.workers() == set()
    assert "unsupported_cpu: the native libraries were built" in server.log.read_text()
