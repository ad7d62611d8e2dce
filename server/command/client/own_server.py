"""own_server: a server for one command, on a Unix socket that only this user can reach."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from server.command.client.address import Address
from server.command.client.client import Client
from server.command.client.errors import CommandError
from server.command.client.state_folder import state_file

_SOURCE: Final = Path(__file__).resolve().parents[3]
# The longest path of a Unix socket, without its NUL (macOS; Linux has 107).
_MAX_SOCKET_PATH: Final = 103
_STOP_SECONDS: Final = 10.0
# Only this user can enter the socket's folder, so this server needs no keys.
_NOT_INHERITED: Final = (
    "LLAMA_API_KEY",
    "LLAMA_ARG_API_KEY_FILE",
    "LLAMABIND_ADMIN_KEY",
    "LLAMABIND_ADMIN_KEY_FILE",
    "LLAMA_ARG_API_PREFIX",
    "LLAMA_ARG_SSL_CERT_FILE",
    "LLAMA_ARG_SSL_KEY_FILE",
)


@contextmanager
def own_server(flags: Sequence[str] = ()) -> Iterator[Client]:
    """Start a server with these flags; yields its client. Raises CommandError.

    The server ends with the context, or with this process, however that ends. Other settings are
    those of the environment (LLAMA_ARG_MODELS_DIR, LLAMA_ARG_CTX_SIZE, ...).
    """
    folder = _new_folder()
    try:
        log = state_file("own-server.log")
    except OSError:  # a home that cannot be written
        log = folder / "server.log"
    try:
        with log.open("wb") as log_file:
            process = _start(folder / "server.sock", flags, log_file.fileno())
        try:
            _wait_until_ready(process, log)
            yield Client(Address(socket=str(folder / "server.sock")))
        finally:
            _stop(process)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _new_folder() -> Path:
    """A folder that only this user may enter, with a path short enough for a socket in it."""
    folder = Path(tempfile.mkdtemp(prefix="llamabind-"))
    if len(str(folder / "server.sock")) > _MAX_SOCKET_PATH:
        folder.rmdir()
        folder = Path(tempfile.mkdtemp(prefix="llamabind-", dir="/tmp"))
    return folder


def _start(socket: Path, flags: Sequence[str], log: int) -> "subprocess.Popen[bytes]":
    # -P keeps a server.py in the current folder from being imported in place of this package.
    safe = ("-P",) if sys.flags.safe_path or Path.cwd() != _SOURCE else ()
    environment = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
    return subprocess.Popen(
        [
            sys.executable,
            *safe,
            *("-m", "server.command.client.attached"),
            *("--host", str(socket), "--drain-seconds", "1"),
            *flags,
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        env=environment,
        # Ctrl-C in the terminal stops an answer, not the server.
        start_new_session=True,
    )


def _wait_until_ready(process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Wait for the line that the server prints once it listens. Raises CommandError."""
    assert process.stdout is not None
    if process.stdout.readline():
        return
    process.wait()
    lines = log.read_text(errors="replace").strip().splitlines()
    reason = lines[-1] if lines else f"exit status {process.returncode}"
    raise CommandError(f"could not start a server: {reason} (its log: {log})")


def _stop(process: "subprocess.Popen[bytes]") -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(OSError):
        process.stdin.close()
    try:
        process.wait(_STOP_SECONDS)
    except BaseException:  # a time limit, or a further Ctrl-C
        process.kill()
        process.wait()
        raise
    finally:
        process.stdout.close()
