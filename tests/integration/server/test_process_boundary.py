"""The modules that the HTTP process may load, and its configuration."""

import signal
import subprocess
import sys

import pytest

from llamabind.errors import UnsupportedCpuError
from server.errors import load_error
from server.protocol.loading import LoadFailed
from server.supervisor.process import WorkerExit
from server.worker.session.load_failure import load_failure
from tests.support.paths import ROOT


def test_the_http_process_imports_nothing_native() -> None:
    code = (
        "import sys, server.__main__, server.start.run, server.serving\n"
        "_NATIVE = ('llamabind._capi', 'llguidance', 'server.worker.')\n"
        "bad = [m for m in sys.modules if m.startswith(_NATIVE)]\n"
        "print(bad)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


_LATER = ("numpy", "pynvml", "PIL", "ray", "server.api.operations", "server.start.hub_model")
_AFTER_THE_WORKER = ("asyncio", "argparse", "logging", "msgspec", "psutil", "server.config")
_AFTER_THE_LOAD = ("aiohttp", "server.app", "server.api", "server.http")


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("server.__main__", _LATER + _AFTER_THE_LOAD + _AFTER_THE_WORKER),
        ("server.supervisor.early_worker", _LATER + _AFTER_THE_LOAD + _AFTER_THE_WORKER),
        ("server.start.run", _LATER + _AFTER_THE_LOAD),
        ("server.serving", _LATER),
    ],
)
def test_the_start_of_the_server_imports_only_what_it_uses(
    module: str, absent: tuple[str, ...]
) -> None:
    """A worker starts before anything else is imported, a load of --model before HTTP, and what few
    requests use is not imported.
    """
    code = f"import sys, {module}\nprint(*sys.modules.keys() & {set(absent)!r})"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == ""


_RARELY_USED = (
    *("llguidance", "email", "tempfile", "PIL", "soundfile", "aiohttp", "asyncio"),
    *("numpy", "llamabind.embedding.engine", "llamabind.media.projector", "llamabind.bug_report"),
)


def test_a_worker_imports_only_what_every_load_uses() -> None:
    code = (
        "import sys, server.worker.__main__, server.worker.loading.load\n"
        f"print(*sys.modules.keys() & {set(_RARELY_USED)!r})"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == ""


_WHILE_A_MODEL_IS_LOADED = ("numpy", "llamabind.engine.engine", "llamabind.context.context")


def test_a_worker_begins_a_load_before_it_imports_the_engine() -> None:
    code = (
        "import sys, server.worker.__main__\n"
        f"print(*sys.modules.keys() & {set(_WHILE_A_MODEL_IS_LOADED)!r})"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == ""


def test_aiohttp_is_imported_without_certificates_and_others_still_get_them() -> None:
    code = (
        "import ssl, server.quick_aiohttp\n"
        "from aiohttp import connector\n"
        "made = ssl.create_default_context()\n"
        "quick = connector._SSL_CONTEXT_VERIFIED\n"
        "print(quick.cert_store_stats()['x509_ca'], quick.verify_mode.name)\n"
        "print('set_default_verify_paths' in vars(ssl.SSLContext), made.check_hostname)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == ["0", "CERT_REQUIRED", "False", "True"]


def test_the_worker_process_does_without_http() -> None:
    code = "import sys, server.worker.session.session\nprint('aiohttp' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("returncode", "words"),
    [
        (3, "status 3"),
        (-9, "SIGKILL (out of memory"),
        (-6, "SIGABRT"),
        (-120, "signal 120"),
        (-4, "SIGILL: the native libraries use instructions that this CPU lacks; build llamabind"),
    ],
)
def test_the_end_of_a_worker_reads_well(returncode: int, words: str) -> None:
    assert words in WorkerExit(returncode).description


@pytest.mark.parametrize(
    ("returncode", "reason"),
    [(0, "crashed"), (-signal.SIGSEGV, "crashed"), (-signal.SIGILL, "unsupported_cpu")],
)
def test_only_an_illegal_instruction_is_the_cpus_fault(returncode: int, reason: str) -> None:
    assert WorkerExit(returncode).reason == reason


@pytest.mark.parametrize(
    "line",
    [
        "ggml-rpc.cpp:517: Remote RPC server crashed or returned malformed response",
        "ggml-rpc.cpp:547: Failed to connect to 10.0.0.2:50052",
        "ggml-rpc.cpp:550: RPC handshake failed for 10.0.0.2:50052",
    ],
)
def test_an_abort_of_ggml_for_a_lost_rpc_server_is_no_crash(line: str) -> None:
    end = WorkerExit(-signal.SIGABRT, ("INFO loading", line))
    assert (end.reason, end.load_reason) == ("rpc_server_lost", "rpc_server_lost")
    assert end.description == "lost the connection to an RPC server"
    assert WorkerExit(-signal.SIGABRT, ("GGML_ASSERT failed",)).reason == "crashed"
    assert WorkerExit(-signal.SIGKILL, (line,)).reason == "crashed"


@pytest.mark.parametrize("reason", ["rpc_server_lost", "rpc_server_busy", "rpc_server_mismatch"])
def test_an_rpc_server_that_cannot_be_used_is_a_503_with_a_time(reason: str) -> None:
    error = load_error(reason, "a sentence")
    assert (error.status, error.code, error.extra["reason"]) == (503, reason, reason)
    assert int(error.headers["Retry-After"]) > 0


def test_a_cpu_that_cannot_run_the_libraries_fails_a_load_by_its_own_reason() -> None:
    error = UnsupportedCpuError("AVX-512", "Some CPU", ("avx512f",))
    assert load_failure(error) == LoadFailed("unsupported_cpu", str(error))
