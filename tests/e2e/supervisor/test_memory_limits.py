"""A limit of the address space that is too small is reported as such."""

import os
import resource
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.support.server_process import TINY, ServerProcess, is_gone

pytestmark = pytest.mark.e2e

# From too little for the worker's interpreter up to what the bundled model's load needs here.
_STEPS = range(100, 2100, 40)


_LIMIT = 1 << 40

# The workers' interpreter: the server's own memory must stay as it is.
_LIMITED_PYTHON = """\
#!/bin/sh
ulimit -v "$(cat '{folder}/kilobytes')"
exec '{python}' "$@"
"""


def test_a_load_below_any_limit_of_address_space_works_or_names_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "python"
    python.write_text(_LIMITED_PYTHON.format(folder=tmp_path, python=sys.executable))
    python.chmod(0o755)
    # The server starts workers with sys.executable.
    (tmp_path / "sitecustomize.py").write_text(f"import sys\nsys.executable = {str(python)!r}\n")
    path = (str(tmp_path), os.environ.get("PYTHONPATH", ""))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    reasons: list[str] = []
    with ServerProcess(tmp_path) as server:
        # Inherited by workers, which then lower it; the server itself is far below.
        resource.prlimit(server.process.pid, resource.RLIMIT_AS, (_LIMIT, hard))
        for megabytes in _STEPS:
            (tmp_path / "kilobytes").write_text(str(megabytes << 10))
            try:
                status, document = server.request("POST", f"/api/v2/models/{TINY}/load", {})
            except TimeoutError:
                raise AssertionError(
                    f"a load with {megabytes} MB hangs: {_stacks(server)}"
                ) from None
            if status == 200:
                break
            error = document["error"]
            if error["reason"] == "out_of_memory":
                assert (status, error["param"]) == (507, None)
            else:
                # Native code that died without a word: the limit that counts is named all the same.
                assert (status, error["reason"]) == (503, "crashed"), (megabytes, error)
                assert "ulimit -v limits each process to 1,048,576 MB" in error["message"]
            reasons.append(error["reason"])
        else:
            raise AssertionError("no step was enough for the load")
    assert "out_of_memory" in reasons


def _stacks(server: ServerProcess) -> str:
    """The end of the log, with the stacks that faulthandler writes for the workers that hang."""
    for worker in server.workers():
        os.kill(worker, signal.SIGABRT)
        while not is_gone(worker):
            time.sleep(0.05)
    return server.log.read_text()[-6000:]
