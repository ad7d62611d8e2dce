"""The command line of scripts/gpu_check: the checks, their order and the time limit."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from bench.servers import ServerFailedError

from gpucheck.checks import CheckFailedError, Checks, Setup
from gpucheck.devices import NO_GPU, NoGpuError, find_gpus, library_report, nvidia_folders
from gpucheck.models import TINY, make_model
from gpucheck.report import Result, exit_status, summary_lines

_STEPS = ("answers", "gap", "benchmark")
_ERRORS = (CheckFailedError, ServerFailedError, OSError, subprocess.TimeoutExpired)


def main() -> int:
    """Exit status 0 if all checks passed, 1 if one failed, 2 if there is no GPU."""
    arguments = _arguments()
    deadline = time.monotonic() + 60 * arguments.minutes
    if arguments.package is not None:
        _use_package(arguments.package.absolute())
    if arguments.cpu:
        os.environ.update(NO_GPU)
    try:
        devices = _devices(is_cpu=arguments.cpu)
    except NoGpuError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    results = [Result("devices", is_good=True, text=devices)]
    print(f"devices: {devices}", flush=True)
    with tempfile.TemporaryDirectory(prefix="gpu-check-") as folder:
        checks = Checks(
            Setup(
                models=_models(arguments, Path(folder)),
                binaries=arguments.peers,
                folder=Path(folder),
                deadline=deadline,
                is_cpu=arguments.cpu,
                rounds=arguments.rounds,
            )
        )
        for name in arguments.only or _STEPS:
            results.append(_result(checks, name))
    print("\n".join(summary_lines(results)))
    if arguments.json:
        document = [asdict(result) for result in results]
        arguments.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return exit_status(results)


def _use_package(package: Path) -> None:
    """Set the environment so that child processes load the package's libraries and NVIDIA's
    wheels.
    """
    os.environ["LLAMABIND_LIB_DIR"] = str(package / "lib")
    folders = [os.environ.get("LD_LIBRARY_PATH", ""), *nvidia_folders(sys.path)]
    os.environ["LD_LIBRARY_PATH"] = os.pathsep.join(filter(None, folders))


def _devices(*, is_cpu: bool) -> str:
    report = library_report({})
    if is_cpu:
        if not report.get("native"):
            raise NoGpuError(f"the native library cannot be used: {report.get('problem')}")
        return "none (--cpu): the CPU is compared with itself"
    return ", ".join(gpu.text() for gpu in find_gpus(report))


def _result(checks: Checks, name: str) -> Result:
    started = time.monotonic()
    try:
        result: Result = getattr(checks, name)()
    except _ERRORS as error:
        result = Result(name, is_good=False, text=str(error))
    print(f"{name}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    return result


def _models(arguments: argparse.Namespace, folder: Path) -> list[Path]:
    """The bundled model, whose answers make sense, and a large one for speed and matrix sizes."""
    package = arguments.package
    large = arguments.model or make_model(arguments.shape, folder, package)
    return [TINY, large.absolute()]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/gpu_check",
        description="Check a GPU: devices, greedy answers equal to the CPU's, the time of steps "
        "with prompt tokens (LONGEST_GAP_ON_GPU), and the benchmarks' group gpu against "
        "llama-server.",
        epilog="Exit status: 0 all passed, 1 a check failed or a goal was missed, 2 no GPU.",
    )
    parser.add_argument(
        *("package",),
        nargs="?",
        type=Path,
        help="folder with lib/ and bin/ that scripts/check_cuda_build made; default: the "
        "library of this checkout",
    )
    parser.add_argument("--peers", type=Path, metavar="DIR", help="folder of llama-server")
    parser.add_argument("--model", type=Path, metavar="FILE", help="GGUF file with a chat template")
    parser.add_argument(
        "--shape", default="1b", help="shape of the random model without --model; default 1b"
    )
    parser.add_argument(
        "--minutes", type=float, default=9.5, help="time limit for all checks; default 9.5"
    )
    parser.add_argument("--rounds", type=int, default=2, help="rounds of the benchmark; default 2")
    parser.add_argument(
        "--only", nargs="+", choices=_STEPS, help="run only these checks; default: all"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results to FILE")
    parser.add_argument(
        "--cpu", action="store_true", help="compare the CPU with itself, to test this script"
    )
    arguments = parser.parse_args()
    if arguments.package is not None and not (arguments.package / "lib").is_dir():
        parser.error(
            f"{arguments.package} has no folder lib: "
            "give the folder that scripts/check_cuda_build made"
        )
    if arguments.peers is None and arguments.package is not None:
        arguments.peers = arguments.package.absolute() / "bin"
    return arguments


if __name__ == "__main__":
    sys.exit(main())
