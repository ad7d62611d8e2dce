"""Runs Python programs that use SDKs, in forks of a process that has imported the SDKs.

The imports take up to two seconds of CPU time, and several tests run such programs.
"""

import io
import multiprocessing
import os
import traceback
from collections.abc import Mapping
from contextlib import redirect_stdout
from multiprocessing.connection import Connection

_PACKAGES = ["anthropic", "ollama", "openai"]
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(_PACKAGES)


def run_program(source: str, environment: Mapping[str, str]) -> str:
    """What the program prints in a process with this environment; it must raise nothing."""
    ours, theirs = _CONTEXT.Pipe(duplex=False)
    with ours:
        process = _CONTEXT.Process(target=_execute, args=(source, dict(environment), theirs))
        process.start()
        theirs.close()
        is_ok, output = ours.recv()
        process.join()
    assert is_ok, output
    return str(output)


def _execute(source: str, environment: dict[str, str], results: Connection) -> None:
    os.environ.clear()
    os.environ.update(environment)
    output = io.StringIO()
    try:
        with redirect_stdout(output):
            exec(compile(source, "<program>", "exec"), {"__name__": "__main__"})
    except BaseException:
        results.send((False, traceback.format_exc()))
        raise
    else:
        results.send((True, output.getvalue()))
