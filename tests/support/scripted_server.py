"""ScriptedServer: the real application over scripted workers (fake_worker.py), as a process."""

import atexit
import functools
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support.paths import ROOT


class ScriptedServer:
    """A process that serves the models of `folder` on 127.0.0.1.

    `port` 0 is any free port; `settings` are fields of ServerConfig; the packages `missing` are not
    found in the process. It is forked from one that has all imports (scripted_server_forks.py),
    since an interpreter and its imports take 0.6 seconds of CPU time.
    """

    def __init__(
        self, folder: Path, port: int = 0, *, missing: Sequence[str] = (), **settings: Any
    ) -> None:
        server = {"folder": str(folder), "port": port, "settings": settings}
        answer = _ask({"server": server, "environment": dict(os.environ), "missing": list(missing)})
        assert answer, "the scripted server did not start"
        pid, self.url = answer.split()
        self.port = int(self.url.rpartition(":")[2])
        self._pid: int | None = int(pid)

    def stop(self) -> None:
        """Kill it; its workers end with it."""
        if self._pid is not None:
            _ask(self._pid)
            self._pid = None

    def __enter__(self) -> "ScriptedServer":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _ask(request: Any) -> str:
    parent = _parent()
    assert parent.stdin is not None
    assert parent.stdout is not None
    parent.stdin.write(json.dumps(request) + "\n")
    parent.stdin.flush()
    return parent.stdout.readline().strip()


@functools.cache
def _parent() -> "subprocess.Popen[str]":
    """The process that forks all servers of this one, started at the first use."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.scripted_server_forks"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )

    def end() -> None:
        process.communicate()

    atexit.register(end)
    return process
