"""Terminal: a command in a pseudo-terminal, as a person at a keyboard has it."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping, Sequence
from typing import Any

import psutil

from llamabind.system.closing import Closing
from tests.support.paths import ROOT

_DEADLINE_SECONDS = 90.0
# A process gets a controlling terminal, to which Ctrl-C belongs, by asking for it itself. Where the
# tests run in the background of a script, SIGINT is ignored, also by the processes that they start;
# under nohup, SIGHUP is.
_ATTACH = (
    "import fcntl, os, signal, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    "signal.signal(signal.SIGINT, signal.SIG_DFL); signal.signal(signal.SIGHUP, signal.SIG_DFL); "
    "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
)
CTRL_C, CTRL_D = "\x03", "\x04"


class Terminal(Closing):
    """`python ARGUMENTS` in a terminal of 100 columns; leaving the context kills it."""

    def __init__(self, *arguments: str, environment: Mapping[str, str]) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-c", _ATTACH, *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=ROOT,
            env={**os.environ, "TERM": "xterm", **environment},
            start_new_session=True,
        )
        os.close(slave)
        # All that has been shown, and how much of it expect() has passed.
        self.text = ""
        self._passed = 0

    def close(self) -> None:
        """Kill the command."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        os.close(self._master)

    def type(self, text: str) -> None:
        """Press keys, once the command waits for them: readline misses a Ctrl-C before that."""
        while (
            self.process.poll() is None and psutil.Process(self.process.pid).status() == "running"
        ):
            time.sleep(0.01)
        os.write(self._master, text.encode())

    def enter(self, line: str) -> None:
        """Type a line."""
        self.type(f"{line}\r")

    def expect(self, text: str) -> str:
        """Wait until `text` is shown; returns what came since the last expect(), up to it."""
        deadline = time.monotonic() + _DEADLINE_SECONDS
        while text not in self.text[self._passed :]:
            assert time.monotonic() < deadline, f"{text!r} is not in {self.text[self._passed :]!r}"
            assert self._read(), f"ended without {text!r}: {self.text[self._passed :]!r}"
        begin = self._passed
        self._passed = self.text.index(text, begin) + len(text)
        return self.text[begin : self._passed]

    def wait(self) -> int:
        """The exit status; reads what is still shown."""
        while self._read():
            pass
        return self.process.wait(_DEADLINE_SECONDS)

    def _read(self) -> bool:
        """Read once; False at the end."""
        ready, _, _ = select.select([self._master], [], [], 1.0)
        if not ready:
            return self.process.poll() is None
        try:
            data = os.read(self._master, 65_536)
        except OSError:  # Linux: no process has the terminal open any more
            return False
        self.text += data.decode(errors="replace")
        return bool(data)


def command_environment(state: Any, **more: str) -> dict[str, str]:
    """Variables for a command whose default address has no server, with its own state folder.

    A server that it starts computes with one thread, as in server_process.py.
    """
    own = {"XDG_STATE_HOME": str(state), "LLAMA_ARG_PORT": "1", "LLAMABIND_URL": ""}
    return own | {"LLAMA_ARG_THREADS": "1"} | more


def command(*words: str) -> Sequence[str]:
    """The arguments of Python that run the command."""
    return ("-m", "server.command", *words)
