"""A Ctrl-C or a lack of memory while a program imports its modules ends it without a traceback."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT

_PROGRAMS = pytest.mark.parametrize(
    "arguments",
    [
        ["server", "--port", "0"],
        ["server.command", "ls"],
        ["server.command", "serve", "--port", "0"],
        ["server.command", "doctor"],
        ["llamabind"],
        ["llamabind", "doctor"],
    ],
    ids=" ".join,
)


def _run(
    folder: Path, arguments: list[str], imported: str, limits: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a program for which `import argparse`, which all of them need, runs `imported`."""
    # The folder stands before the standard library on the path.
    (folder / "argparse.py").write_text(imported)
    path = os.pathsep.join((str(folder), os.environ.get("PYTHONPATH", "")))
    return subprocess.run(
        ["sh", "-c", f'{limits} exec "$0" -m "$@"', sys.executable, *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@_PROGRAMS
def test_an_interrupt_is_exit_status_130(tmp_path: Path, arguments: list[str]) -> None:
    # The shell that runs the tests in the background may have turned Ctrl-C off for them.
    turn_on = "signal.signal(signal.SIGINT, signal.default_int_handler)"
    send = "os.kill(os.getpid(), signal.SIGINT)"
    done = _run(tmp_path, arguments, f"import os, signal\n{turn_on}\n{send}\n")
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@_PROGRAMS
@pytest.mark.parametrize(
    ("error", "detail"),
    [
        ("MemoryError()", ""),
        ('RuntimeError("can\'t start new thread")', " (can't start new thread)"),
        ("OSError(12, 'x')", " ([Errno 12] x)"),
    ],
)
def test_a_lack_of_memory_names_the_limit(
    tmp_path: Path, arguments: list[str], error: str, detail: str
) -> None:
    # The limit itself is far above what the program needs.
    done = _run(tmp_path, arguments, f"raise {error}\n", "ulimit -v 1073741824;")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"no memory is left{detail}; ulimit -v limits each process to 1,048,576 MB of address "
        "space, which is too little\n"
    )
