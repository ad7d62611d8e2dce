"""`llamabind rpc-server` on a free port of the loopback device."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from functools import cache

import psutil
import pytest

from llamabind.system.closing import Closing
from tests.support.paths import ROOT
from tests.support.server_process import is_gone, until


@cache
def has_rpc() -> bool:
    """Whether the libraries were built with RPC. In a child: few tests load native code."""
    done = subprocess.run(
        [sys.executable, "-m", "llamabind", "report", "--json"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    return "RPC" in json.loads(done.stdout)["native"]["backends"]


def skip_without_rpc() -> None:
    """Skip the test in a build without RPC."""
    if not has_rpc():
        pytest.skip("the native libraries were built without RPC (GGML_RPC=OFF)")


class RpcServerProcess(Closing):
    """An RPC server that lends the CPU with one thread; `address` is its HOST:PORT."""

    def __init__(self, *arguments: str, port: int = 0) -> None:
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "llamabind", "rpc-server", "--device", "CPU"),
                *("--threads", "1", "--port", str(port), *arguments),
            ],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.close()
            skip_without_rpc()
        assert "listens on" in line, line
        self.address = line.split("listens on ")[1].split(",")[0]
        self.port = int(self.address.rpartition(":")[2])

    def kill(self) -> None:
        """End it as a crash of the machine's kernel would: without a word."""
        others = psutil.Process(self.process.pid).children(recursive=True)
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        # Its other processes end by themselves, unless they were suspended.
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGCONT)
        # Until then they hold the port.
        until(lambda: all(is_gone(other.pid) for other in others), "its processes have ended")

    def suspend(self) -> None:
        """Stop all its processes: they neither answer nor end."""
        os.killpg(self.process.pid, signal.SIGSTOP)

    def close(self) -> None:
        """End the server."""
        if self.process.poll() is None:
            self.process.terminate()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.process.wait(30)
