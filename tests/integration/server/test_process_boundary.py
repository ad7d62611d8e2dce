"""What the HTTP process may load, and how it is configured."""

import subprocess
import sys

import pytest

from server.supervisor.process import WorkerExit
from tests.support.paths import ROOT


def test_the_http_process_imports_nothing_native() -> None:
    code = (
        "import sys, server.__main__\n"
        "bad = [m for m in sys.modules if m.startswith(('llamabind._capi', 'server.worker.'))]\n"
        "print(bad)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_the_worker_process_does_without_http() -> None:
    code = "import sys, server.worker.session.session\nprint('aiohttp' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("returncode", "words"),
    [(3, "status 3"), (-9, "SIGKILL (out of memory"), (-6, "SIGABRT"), (-120, "signal 120")],
)
def test_the_end_of_a_worker_reads_well(returncode: int, words: str) -> None:
    assert words in WorkerExit(returncode).description
