"""Target: a server to attack, with two small models and a log that nobody reads."""

import contextlib
import http.client
import json
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import psutil

ROOT = Path(__file__).parents[2]
MODEL = "tiny-chat.gguf"
OTHER = "other.gguf"
STALL_SECONDS = 20
LOOP, NATIVE = "endless loop", "endless call"
# Endless for two conversations. 60 nested pairs of the same pair are 2^60 values for a key's hash.
TEMPLATE = (
    f"{{% if messages[-1].content == '{LOOP}' %}}"
    "{% for i in range(1000) %}{% for j in range(1000) %}{% for k in range(1000) %}{{ i }}"
    f"{{% endfor %}}{{% endfor %}}{{% endfor %}}{{% elif messages[-1].content == '{NATIVE}' %}}"
    "{% set ns = namespace(pair=(1, 1)) %}"
    "{% for i in range(60) %}{% set ns.pair = (ns.pair, ns.pair) %}{% endfor %}{{ {}[ns.pair] }}"
    "{% endif %}{% for message in messages %}"
    "<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "<|im_start|>assistant\n"
)
_TIMEOUT = 600.0


@dataclass(frozen=True, slots=True)
class Usage:
    """Memory in bytes, file descriptors and threads."""

    memory: int
    descriptors: int
    threads: int

    @classmethod
    def of(cls, process: psutil.Process) -> Self:
        with process.oneshot():
            return cls(process.memory_info().rss, process.num_fds(), process.num_threads())


@dataclass(frozen=True, slots=True)
class Client:
    """Sends requests to a server on a port of this machine."""

    port: int

    def connect(self, address: str = "127.0.0.1") -> http.client.HTTPConnection:
        """A connection from an address of this machine, such as 127.0.0.2: a client of its own."""
        return http.client.HTTPConnection(
            "127.0.0.1", self.port, timeout=_TIMEOUT, source_address=(address, 0)
        )

    def request(
        self, method: str, path: str, body: Any = None, address: str = "127.0.0.1", **headers: str
    ) -> tuple[int, bytes]:
        """Send one request; the status and the body. Bytes are sent as they are."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        with contextlib.closing(self.connect(address)) as connection:
            connection.request(method, path, data, headers)
            response = connection.getresponse()
            return response.status, response.read()

    def post(self, path: str, body: Any) -> Any:
        """POST to a path; the request must succeed."""
        status, answer = self.request("POST", path, body)
        assert status == 200, answer
        return json.loads(answer)


class Target:
    """`python -m server` on a free port. The template of `OTHER` is hostile."""

    def __init__(self, *arguments: str) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="attack-"))
        shutil.copy(ROOT / "llamabind" / "models" / MODEL, self._folder / OTHER)
        command = [sys.executable, "-m", "server", "--port", "0"]
        command += ["--models-dir", str(self._folder), "--stall-seconds", str(STALL_SECONDS)]
        # Each request logs a line to a pipe that nobody reads.
        self._process = subprocess.Popen(
            [*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline().decode()
        port = int(line.split("http://")[1].split()[0].rsplit(":", 1)[1])
        self.client = Client(port)
        self.process = psutil.Process(self._process.pid)
        settings = {"n_ctx": 16_384, "threads": 1, "n_parallel": 8}
        self.client.post(f"/api/v2/models/{MODEL}/load", settings)
        self.client.post(f"/api/v2/models/{OTHER}/load", settings | {"chat_template": TEMPLATE})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(60)
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def workers(self) -> list[psutil.Process]:
        """The worker processes."""
        found = []
        for child in self.process.children():
            with contextlib.suppress(psutil.Error):
                if "server.worker" in child.cmdline():
                    found.append(child)
        return found


def chat(text: str, **fields: Any) -> dict[str, Any]:
    """The body of a chat with one message."""
    return {"model": MODEL, "messages": [{"role": "user", "content": text}], **fields}
