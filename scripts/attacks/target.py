"""Target: a server to attack, with two small models and a log that nobody reads."""

import contextlib
import http.client
import json
import random
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
CACHE_RAM_MIB = 8
"""Bounds the saved states of a worker. The default is gigabytes, which would hide a leak."""
LOOP, NATIVE = "endless loop", "endless call"
# Endless for two conversations. One looks for 4 MB of "a" and a "b" in 8 MB of "a".
TEMPLATE = (
    f"{{% if messages[-1].content == '{LOOP}' %}}"
    "{% for i in range(1000) %}{% for j in range(1000) %}{% for k in range(1000) %}{{ i }}"
    f"{{% endfor %}}{{% endfor %}}{{% endfor %}}{{% elif messages[-1].content == '{NATIVE}' %}}"
    f"{{% set ns = namespace(text='{'a' * 4096}') %}}"
    "{% for i in range(10) %}{% set ns.text = ns.text ~ ns.text %}{% endfor %}"
    "{{ (ns.text ~ 'b') in (ns.text ~ ns.text) }}"
    "{% endif %}{% for message in messages %}"
    "<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "<|im_start|>assistant\n"
)
_SETTINGS = {"n_ctx": 16_384, "threads": 1, "n_parallel": 8, "cache_ram": CACHE_RAM_MIB}
SETTINGS = {MODEL: _SETTINGS, OTHER: _SETTINGS | {"chat_template": TEMPLATE}}
"""With which each model is loaded, also again by attacks: the soak compares two moments."""
_TIMEOUT = 600.0
_FULL = 0.8
# A digit, 3.3 bits, is a token: 6 long prompts take 14,400 of the 16,384 cells.
_N_LONG_PROMPTS, _LONG_BITS = 6, 8000
_MOST_PROMPTS, _SHORT_BITS = 150, 2000


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
        for model, settings in SETTINGS.items():
            self.client.post(f"/api/v2/models/{model}/load", settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(60)
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def fill_caches(self) -> None:
        """Fill both models' KV cells and saved states by distinct prompts, up to their bounds.

        So the memory of two moments can be compared: KV cells take memory when they are first used,
        and saved states until there are CACHE_RAM_MIB of them.
        """
        for model in (MODEL, OTHER):
            for _ in range(_N_LONG_PROMPTS):
                self._ask_new(model, _LONG_BITS)
            for _ in range(_MOST_PROMPTS):
                self._ask_new(model, _SHORT_BITS)
                if self._fill_of(model) > _FULL:
                    break
            else:
                raise AssertionError(f"the caches of {model} do not fill: {self._fill_of(model)}")

    def _ask_new(self, model: str, n_bits: int) -> None:
        text = str(random.getrandbits(n_bits))
        answer = self.client.post(
            "/v1/chat/completions", chat(text, max_tokens=1) | {"model": model}
        )
        assert answer["choices"], answer

    def _fill_of(self, model: str) -> float:
        """The share of CACHE_RAM_MIB that saved states take."""
        name = f'llamabind_cache_ram_bytes{{model="{model}"}} '
        _, document = self.client.request("GET", "/metrics")
        [value] = [line for line in document.decode().splitlines() if line.startswith(name)]
        return float(value.removeprefix(name)) / (CACHE_RAM_MIB << 20)

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
