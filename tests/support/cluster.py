"""A cluster on a local Ray, started as a user starts it: `llamabind cluster up`."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psutil

from tests.support.client_server import VECTORS
from tests.support.paths import ROOT
from tests.support.server_process import TINY, Figures, ServerProcess

_START_SECONDS = 600.0
_CHANGE_SECONDS = 300.0


class ClusterProcess(ServerProcess):
    """The ingress of `llamabind cluster up FILE` with a ServerProcess's methods."""

    def __init__(self, file: Path, port: int) -> None:  # no super(): another command is started
        self.port = port
        self.file = file
        self.log = file.with_suffix(".log")
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "server.command", "cluster", "up", str(file)],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=ROOT,
                start_new_session=True,
            )
        try:
            self._wait_for("cluster serves")
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the command and Ray's processes."""
        # Ray's processes have left the group, and end with the command; a test may not leave them.
        children = psutil.Process(self.process.pid).children(recursive=True)
        self.process.terminate()
        try:
            self.process.wait(_CHANGE_SECONDS)
        finally:
            assert self.process.stdout is not None
            self.process.stdout.close()
            for child in children:
                with suppress(psutil.NoSuchProcess):
                    child.kill()

    def engine(self) -> dict[str, Any]:
        """The figures of the model TINY, which has one replica."""
        figures: dict[str, Any] = self.get(f"/api/v2/models/{TINY}")["engine"]
        return figures

    def metrics(self) -> Figures:
        """GET /metrics without the series of the model for vectors and of other replicas."""
        return Figures(self.metrics_text())

    def metrics_text(self) -> str:
        """GET /metrics."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.request("GET", "/metrics")
            return connection.getresponse().read().decode()

    def replicas(self, model: str) -> set[str]:
        """The names of a model's replicas that run now."""
        found = re.findall(r'llamabind_model_state\{replica="([^"]+)"', self.metrics_text())
        return {name for name in found if name.startswith(f"{model}-")}

    def chat(self, model: str, text: str, **headers: str) -> tuple[int, dict[str, str], Any]:
        """Status, headers and document of a short chat."""
        body = {
            "model": model,
            "messages": [{"role": "user", "content": text}],
            "max_tokens": 4,
            "temperature": 0,
        }
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)) as connection:
            names = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request("POST", "/v1/chat/completions", json.dumps(body), names)
            response = connection.getresponse()
            answered = {name.lower(): value for name, value in response.getheaders()}
            return response.status, answered, json.loads(response.read())

    def server_of(self, replica: str) -> psutil.Process:
        """The process of a replica's server: of the model in the replica's name."""
        model = replica.rsplit("-", 1)[0]
        for process in psutil.Process(self.process.pid).children(recursive=True):
            with suppress(psutil.Error):
                words = process.cmdline()
                if (
                    "--alias" in words
                    and words[words.index("--alias") + 1] == model
                    and (replica in process.environ().get("LLAMABIND_REPLICA", ""))
                ):
                    return process
        raise AssertionError(f"no server of {replica}")

    def ingress(self) -> psutil.Process:
        """The process of the ingress."""
        for process in psutil.Process(self.process.pid).children(recursive=True):
            with suppress(psutil.Error):
                # Ray appends the method that it runs.
                if "".join(process.cmdline()).startswith("ray::ServeReplica:llamabind:ingress"):
                    return process
        raise AssertionError("no process of the ingress")

    def command(self, action: str, file: Path) -> str:
        """What `llamabind cluster ACTION FILE --address ...` prints on stderr when it fails."""
        done = subprocess.run(
            [sys.executable, "-m", "server.command", "cluster", action, str(file)],
            env=os.environ | {"RAY_ADDRESS": self._ray_address()},
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
        )
        assert done.returncode == 1, done.stdout
        return done.stderr

    def _ray_address(self) -> str:
        """HOST:PORT of this cluster's Ray; other Rays may run on the machine."""
        for process in psutil.Process(self.process.pid).children(recursive=True):
            with suppress(psutil.Error):
                words = process.cmdline()
                found = [word.partition("=")[2] for word in words if "gcs-address=" in word]
                if found:
                    return found[0]
        raise AssertionError("no process of Ray names its address")

    def restart(self) -> None:
        """Replace all replicas, one after the other; returns when it is done."""
        self.process.send_signal(signal.SIGHUP)
        self._wait_for("replicas are replaced")

    def _wait_for(self, text: str) -> None:
        assert self.process.stdout is not None
        seen = ""
        while line := self.process.stdout.readline():
            seen += line
            if text in line:
                return
        raise AssertionError(f"the command ended: {seen}{self.log.read_text()[-4000:]}")


def write_cluster_file(folder: Path, port: int, models: Path) -> Path:
    """The file of the tests' cluster; `models` has the model files."""
    file = folder / "cluster.toml"
    file.write_text(f"""
port = {port}
ingress_cpus = 0.1
gateway_metrics = true

[[models]]
name = "{TINY}"
model = "{models}/{TINY}"
cpus = 1
n_parallel = 1
n_ctx = 32768
max_queue = 1

[[models]]
name = "{VECTORS}"
model = "{models}/{VECTORS}"
cpus = 1
flags = ["--embedding"]

[[models]]
name = "pair"
model = "{models}/pair.gguf"
cpus = 1
replicas = 2
n_ctx = 32768

[[models]]
name = "scale"
model = "{models}/scale.gguf"
cpus = 1
n_parallel = 1
n_ctx = 8192
router = "session"
autoscale = {{ min = 1, max = 3, upscale_delay = 0, downscale_delay = 1 }}
""")
    return file


def until_slowly(condition: Callable[[], bool], what: str) -> None:
    """Poll until `condition` holds; Ray takes seconds for what it does."""
    deadline = time.monotonic() + _CHANGE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"not in time: {what}"
        time.sleep(1)
