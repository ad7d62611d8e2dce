"""The command as a process: what it imports, and a reader of its output that ends."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.paths import ROOT


def test_a_closed_pipe_is_no_error():
    program = (
        "from server.command.main import main; import sys; sys.exit(main(['completion', 'bash']))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 141


@pytest.mark.parametrize("words", [["--help"], ["ls", "--help"], ["pull", "--help"], ["ls"]])
def test_help_and_lists_import_neither_the_server_nor_native_code(words):
    heavy = ["aiohttp", "asyncio", "numpy", "llamabind._capi", "ctypes", "server.app", "shtab"]
    program = (
        "import sys\nfrom server.command.main import main\n"
        f"try: main({words!r})\nexcept SystemExit: pass\n"
        f"print([name for name in {heavy!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={"LLAMABIND_URL": "127.0.0.1:1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr.splitlines()[-1] == "[]"


def test_a_locale_without_the_characters_of_an_answer_is_no_error():
    program = "from server.command.main import main; main(['ls']); print('█…')"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={"PYTHONIOENCODING": "ascii", "PYTHONPATH": str(ROOT), "LLAMABIND_URL": "127.0.0.1:1"},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, b"??\n")


def test_the_doctor_needs_no_package_of_the_server():
    """It has to say what is broken, whatever is."""
    program = (
        "import sys\nfor name in ('aiohttp', 'msgspec', 'numpy', 'prometheus_client', 'shtab'):\n"
        "    sys.modules[name] = None\n"
        "from server.command.main import main\nsys.exit(main(['doctor', '--no-self-test']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={"LLAMABIND_LIB_DIR": "/nonexistent", "PYTHONPATH": str(ROOT), "HOME": "/nonexistent"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert "no native library at /nonexistent" in done.stdout


def _bash(program: str) -> str:
    script = subprocess.run(
        [sys.executable, "-m", "server.command", "completion", "bash"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    done = subprocess.run(
        ["bash", "--norc", "-c", f"{script}\n{program}"], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("llamabind lo", {"load"}),
        ("llamabind load --n-ct", {"--n-ctx"}),
        ("llamabind serve --models-d", {"--models-dir"}),
        ("llamabind show ti", {"tiny-chat.gguf"}),
        ("llamabind completion f", {"fish"}),
    ],
)
def test_bash_completes_commands_flags_and_models(words: str, expected: set[str]):
    n_words = len(words.split())
    completed = _bash(
        "llamabind() { echo tiny-chat.gguf other.gguf; }\n"
        f"COMP_WORDS=({words}); COMP_CWORD={n_words - 1}\n"
        '_shtab_llamabind; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    assert set(completed.split()) == expected


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_a_script_with_commands_and_models(shell: str):
    done = subprocess.run(
        [sys.executable, "-m", "server.command", "completion", shell],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "llamabind ls --quiet" in done.stdout
    assert all(word in done.stdout for word in ("unload", "n-gpu-layers", "models-dir"))


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_are_no_error(closed: str):
    line = f"{sys.executable} -m server.command run x y --url 127.0.0.1:1 {closed}"
    done = subprocess.run(["bash", "-c", line], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr + done.stdout
