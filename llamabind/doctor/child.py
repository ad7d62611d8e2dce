"""Runs this package's native code in a child process, which may crash without harm."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llamabind.doctor.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Sequence

REINSTALL = "install llamabind again on this machine: `pip install --force-reinstall .`"
_LAST_LINES = 3


@dataclass(frozen=True, slots=True)
class ChildAnswer:
    """The JSON object a child printed, or None; `problem` says how the child failed, "" if not."""

    fields: dict[str, Any] | None
    problem: str = ""
    signal_name: str = ""


def ask_child(arguments: Sequence[str], seconds: float) -> ChildAnswer:
    """Run `python -P -m arguments...`, which prints one JSON object."""
    # -P: import the installed llamabind, not a folder of that name in the current directory.
    command = (sys.executable, "-P", "-m", *arguments)
    try:
        done = subprocess.run(command, capture_output=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return ChildAnswer(None, f"did not end within {seconds:g} seconds")
    except OSError as error:
        return ChildAnswer(None, f"could not be started: {error}")
    return read_answer(done.returncode, done.stdout, done.stderr)


def read_answer(status: int, out: bytes, err: bytes) -> ChildAnswer:
    """Return the answer of a child that ended with `status`; negative means killed by a signal."""
    if status < 0:
        name = _signal_name(-status)
        return ChildAnswer(None, f"was killed by {name}", name)
    try:
        fields = json.loads(out)
    except ValueError:
        fields = None
    if isinstance(fields, dict):
        return ChildAnswer(fields)
    last = " / ".join(err.decode(errors="replace").strip().splitlines()[-_LAST_LINES:])
    return ChildAnswer(None, f"ended with status {status}: {last or 'no message'}")


def failed_child(name: str, answer: ChildAnswer) -> Finding | None:
    """Return the finding for a child that gave no answer, None if it gave one."""
    if answer.signal_name == "SIGILL":
        detail = "killed by SIGILL: the libraries use instructions that this CPU does not have"
        return Finding(name, "broken", detail, f"{REINSTALL}, which builds them for this CPU")
    if answer.fields is None:
        return Finding(name, "broken", f"the process of this check {answer.problem}", REINSTALL)
    return None


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
