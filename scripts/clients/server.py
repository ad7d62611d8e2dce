"""Starts the server for one client, and reads its access log."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llama_source import ROOT

from clients.recorded_server import RECORD
from clients.scripted.script import VARIABLE
from tests.support.random_bert import BertShape, write_random_bert

MODEL = "tiny-chat.gguf"
ENCODER = "encoder.gguf"
_BUNDLED = ROOT / "llamabind" / "models" / MODEL
# Agents send 12,000 to 27,000 tokens of the bundled model's small vocabulary.
_AGENT_CONTEXT = 131_072
_MEAN_POOLING = 1
_STOP_SECONDS = 60.0
_ACCESS = re.compile(r"server\.http\.access: (\S+ \S+) (\d{3}) ")


class ServerFailedError(Exception):
    """The server did not start; the message has the end of its log."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server, its log, and the folder with one file for each request."""

    base_url: str
    log: Path
    recorded: Path

    def refused(self) -> list[str]:
        """The lines of the access log with a status of 400 and more."""
        lines = self.log.read_text(errors="replace").splitlines()
        return [line for line in lines if (found := _ACCESS.search(line)) and found[2] >= "400"]

    def paths(self) -> dict[str, int]:
        """How often each method and path was requested."""
        counts: dict[str, int] = {}
        for method_and_path, _ in _ACCESS.findall(self.log.read_text(errors="replace")):
            counts[method_and_path] = counts.get(method_and_path, 0) + 1
        return counts


@contextmanager
def agent_server(folder: Path, calls: Mapping[str, Any]) -> Iterator[Server]:
    """A server of one file, as agents need it; `calls` is the script (scripted/script.py)."""
    flags = ("-m", str(_BUNDLED), "-c", str(_AGENT_CONTEXT))
    with _server(folder, flags, {VARIABLE: json.dumps(calls)}) as server:
        yield server


@contextmanager
def library_server(folder: Path) -> Iterator[Server]:
    """A server of a folder with a chat model and an encoder, which really answer."""
    models = folder / "models"
    models.mkdir()
    shutil.copy(_BUNDLED, models)
    write_random_bert(models / ENCODER, _BUNDLED, _MEAN_POOLING, BertShape(n_ctx_train=512))
    with _server(folder, ("--models-dir", str(models), "--no-bundled-model"), {}) as server:
        url = f"{server.base_url}/api/v2/models/{ENCODER}/load"
        with urllib.request.urlopen(url, data=b'{"embedding": true}') as response:
            response.read()
        yield server


@contextmanager
def _server(folder: Path, flags: tuple[str, ...], variables: dict[str, str]) -> Iterator[Server]:
    log, recorded = folder / "server.log", folder / "requests"
    recorded.mkdir()
    command = [sys.executable, "-m", "clients.recorded_server", "--port", "0", *flags]
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
            cwd=ROOT,
            env={**os.environ, RECORD: str(recorded), **variables},
        )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if "http://" not in line:
            raise ServerFailedError(log.read_text(errors="replace")[-2000:])
        server = Server("http://" + line.split("http://")[1].split()[0], log, recorded)
        _wait(server)
        yield server
    finally:
        process.terminate()
        process.wait(_STOP_SECONDS)
        process.stdout.close()


def _wait(server: Server) -> None:
    """Wait until a server of one file has loaded it; a server of a folder is ready at once."""
    for _ in range(600):
        try:
            with urllib.request.urlopen(f"{server.base_url}/health"):
                break
        except urllib.error.HTTPError:
            time.sleep(0.1)
    # The probes above are not the client's requests. The server appends to the log.
    os.truncate(server.log, 0)
