"""run_self_test: check in a child process whether the native libraries compute correctly.

    python -m llamabind.self_test [--json]

The child process is llamabind.self_test_run, since a faulty library may crash it. Every native
build ends with this test, when only the standard library and _capi can be imported.
"""

import argparse
import dataclasses
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from llamabind._capi.cpu_features import read_cpu_report
from llamabind._capi.loader import cpu_library, library_directory
from llamabind.errors import LibraryError

OK: Final = "ok"
FAILED: Final = "failed"
UNTESTABLE: Final = "untestable"
EXIT_STATUS: Final = {OK: 0, FAILED: 1, UNTESTABLE: 3}

_COMMAND: Final = (sys.executable, "-m", "llamabind.self_test_run")
_TIME_LIMIT: Final = 120.0
_PORTABLE: Final = (
    'CMAKE_ARGS="-DGGML_NATIVE=OFF -DGGML_BACKEND_DL=ON -DGGML_CPU_ALL_VARIANTS=ON" pip install .'
)


@dataclass(frozen=True, slots=True)
class DeviceSpeed:
    """A device that passed, with its speed on the bundled model in tokens per second.

    The CPU is measured with one thread.
    """

    name: str
    prompt_tokens_per_second: float
    tokens_per_second: float


@dataclass(frozen=True, slots=True)
class SelfTestResult:
    """`status` is "ok", "failed" or "untestable"; `detail` says why.

    With "ok" it says which GPUs could not be tested, or is empty.
    """

    status: str
    detail: str = ""
    devices: tuple[DeviceSpeed, ...] = ()


def run_self_test(
    *, time_limit: float = _TIME_LIMIT, command: Sequence[str] = _COMMAND
) -> SelfTestResult:
    """Compute the bundled model on every device in a child process, for `time_limit` s at most."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=time_limit,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return _failed(f"gave no result within {time_limit:g} s")
    except OSError as error:
        return SelfTestResult(UNTESTABLE, f"the self test process cannot be started: {error}")
    if done.returncode < 0:
        return _failed(f"was killed by {_signal_name(-done.returncode)}", _last_line(done.stderr))
    try:
        return _result(json.loads(done.stdout))
    except (ValueError, TypeError, KeyError, AttributeError):
        return _failed(f"ended with status {done.returncode}", _last_line(done.stderr))


def _result(answer: dict[str, Any]) -> SelfTestResult:
    devices = tuple(DeviceSpeed(**device) for device in answer["devices"])
    if answer["status"] == FAILED:
        return _failed(answer["detail"])
    return SelfTestResult(answer["status"], answer["detail"], devices)


def _failed(what: str, last_line: str = "") -> SelfTestResult:
    reason = f" ({last_line})" if last_line else ""
    return SelfTestResult(
        FAILED,
        f"the self test of the native libraries, which were built for {_built_for()}, "
        f"{what}{reason}; a build for all CPUs may work: {_PORTABLE}",
    )


def _built_for() -> str:
    try:
        report = read_cpu_report(cpu_library())
    except LibraryError:
        report = None
    return report.built_for if report else "an unknown CPU"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1][:300] if lines else ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the result and return the exit status: 0 ok, 1 failed, 3 untestable."""
    parser = argparse.ArgumentParser(
        prog="python -m llamabind.self_test",
        description="Load the bundled model, compute with it, and compare with known answers.",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--lib-dir", type=Path, help="folder of the native libraries (default: the package's own)"
    )
    parser.add_argument(
        "--time-limit", type=float, default=_TIME_LIMIT, help="seconds after which the test fails"
    )
    options = parser.parse_args(arguments)
    if options.lib_dir:
        os.environ["LLAMABIND_LIB_DIR"] = str(options.lib_dir)
    result = run_self_test(time_limit=options.time_limit)
    if options.json:
        print(json.dumps(dataclasses.asdict(result), indent=2))
    else:
        print(_text(result))
    return EXIT_STATUS[result.status]


def _text(result: SelfTestResult) -> str:
    if result.status != OK:
        return result.detail
    speeds = (
        f"{device.name} {device.prompt_tokens_per_second:.0f} prompt tokens/s, "
        f"{device.tokens_per_second:.0f} tokens/s"
        for device in result.devices
    )
    return f"the native libraries in {library_directory()} compute correctly: {'; '.join(speeds)}"


if __name__ == "__main__":
    sys.exit(main())
