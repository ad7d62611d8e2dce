"""The AMX emulator computes what the hardware would and crashes where it would."""

from __future__ import annotations

import os
import platform
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT

SOURCES = ROOT / "tests" / "support" / "amx"

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64" or shutil.which("g++") is None,
    reason="the emulator is for x86-64 Linux, and is compiled with g++",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("amx")
    emulator = ["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    _compile(*emulator, SOURCES / "amx_emulator.c", "-ldl", "-o", folder / "emulator.so")
    check = ["g++", "-O2", "-std=c++17", "-mamx-tile", "-mamx-int8", "-mamx-bf16"]
    _compile(*check, SOURCES / "amx_check.cpp", "-pthread", "-o", folder / "check")
    return folder


def _compile(*command: str | Path) -> None:
    subprocess.run([str(word) for word in command], check=True)


def _run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LD_PRELOAD": str(folder / "emulator.so")}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def test_products_equal_those_of_plain_loops(folder):
    result = _run(folder, str(folder / "check"))
    assert (result.returncode, result.stdout) == (0, "0 wrong\n")


@pytest.mark.parametrize("mode", ["unconfigured", "empty", "unpermitted"])
def test_an_instruction_that_the_hardware_refuses_raises_sigill(folder, mode):
    result = _run(folder, str(folder / "check"), mode)
    assert (result.returncode, result.stdout) == (-signal.SIGILL, "")


def test_tiles_work_while_pythons_faulthandler_still_reports_other_sigills(folder):
    code = (
        "import ctypes, faulthandler; faulthandler.enable();"
        "libc = ctypes.CDLL(None); print(libc.syscall(158, 0x1023, 18), flush=True);"
        "import signal; signal.raise_signal(signal.SIGILL)"
    )
    result = _run(folder, sys.executable, "-c", code)
    assert (result.returncode, result.stdout) == (-signal.SIGILL, "0\n")
    assert "Fatal Python error: Illegal instruction" in result.stderr
