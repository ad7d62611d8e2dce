"""What the HTTP process may load, and how it is configured."""

import subprocess
import sys
from pathlib import Path

import pytest

from server.config import ServerConfig
from server.worker_process import WorkerExit

_ROOT = Path(__file__).parents[2]


def test_the_http_process_imports_nothing_native() -> None:
    code = (
        "import sys, server.__main__\n"
        "bad = [m for m in sys.modules if m.startswith(('llamabind._capi', 'server.worker.'))]\n"
        "print(bad)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=_ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_the_worker_process_does_without_http() -> None:
    code = "import sys, server.worker.session\nprint('aiohttp' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=_ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "False"


def test_defaults_are_loopback_8080_and_the_models_folder() -> None:
    config = ServerConfig.from_arguments([])
    assert config == ServerConfig()
    assert (config.host, config.port, config.models_dir) == ("127.0.0.1", 8080, Path("models"))
    assert config.model_directories[1].name == "models"


def test_arguments_arrive() -> None:
    config = ServerConfig.from_arguments(
        ["--host", "::1", "--port", "0", "--models-dir", "/m", "--no-bundled-model"]
    )
    assert (config.host, config.port) == ("::1", 0)
    assert config.model_directories == (Path("/m"),)


@pytest.mark.parametrize(
    "arguments",
    [["--port", "70000"], ["--port", "x"], ["--drain-seconds", "0"], ["--max-body-mb", "0"]],
)
def test_a_wrong_argument_ends_with_a_message(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        ServerConfig.from_arguments(arguments)
    assert caught.value.code == 2
    assert arguments[0] in capsys.readouterr().err


@pytest.mark.parametrize(
    ("returncode", "words"),
    [(3, "status 3"), (-9, "SIGKILL (out of memory"), (-6, "SIGABRT"), (-120, "signal 120")],
)
def test_the_end_of_a_worker_reads_well(returncode: int, words: str) -> None:
    assert words in WorkerExit(returncode).description
