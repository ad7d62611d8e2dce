"""`llamabind pull` and `llamabind chat` without a server, from a hub on loopback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.fake_hub import FakeHub
from tests.support.hub_files import HubFile, HubRepo
from tests.support.paths import ROOT, TINY_MODEL
from tests.support.server_process import ServerProcess, until
from tests.support.terminal import Terminal, command, command_environment

pytestmark = pytest.mark.e2e

REPO = "fake/tiny-chat-GGUF"
# The model with zeros behind it, so that its download takes seconds.
BIG, BIG_BYTES = "fake/big-GGUF", 32 << 20


@dataclass
class Place:
    """A hub, and a user's folders."""

    hub: FakeHub
    environment: dict[str, str]

    def run(self, *words: str, given: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *command(*words)],
            input=given,
            cwd=ROOT,
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    tiny = HubFile(path=TINY_MODEL)
    files = {"tiny-chat-Q4_K_M.gguf": tiny, "tiny-chat-Q8_0.gguf": tiny}
    big = HubFile(TINY_MODEL.read_bytes(), BIG_BYTES)
    with FakeHub([HubRepo(REPO, files), HubRepo(BIG, {"big-Q4_K_M.gguf": big})]) as hub:
        environment = command_environment(
            tmp_path / "state",
            HF_ENDPOINT=hub.url,
            HF_HUB_CACHE=str(tmp_path / "cache"),
            HF_HUB_DISABLE_XET="1",
            HF_TOKEN="",
            LLAMA_CACHE="",
            LLAMA_ARG_MODELS_DIR=str(tmp_path / "models"),
        )
        yield Place(hub, environment)


def test_what_was_pulled_is_what_chat_takes(place: Place):
    done = place.run("pull", f"{REPO}:q4_k_m")
    assert (done.returncode, done.stdout) == (0, f"{REPO}:Q4_K_M is ready (1.15 MB)\n"), done.stderr
    done = place.run("chat", "--temp", "0", given="What is the capital of France?\n")
    assert done.stdout == "The capital of France is Paris.\n"
    assert f"using {REPO}" in done.stderr


def test_run_pulls_what_is_missing_after_saying_how_large_it_is(place: Place):
    done = place.run("run", f"{REPO}:Q8_0", "--temp", "0", "What is the capital of France?")
    assert done.stdout == "The capital of France is Paris.\n", done.stderr
    assert f"downloading {REPO}:Q8_0" in done.stderr


def test_a_pull_that_was_killed_goes_on(place: Place):
    place.hub.faults.slow = 4 << 20
    with Terminal(*command("pull", BIG), environment=place.environment) as terminal:
        terminal.expect("█" * 8)  # a fifth
        terminal.process.send_signal(signal.SIGKILL)
    # The server of the killed command ends after it, and keeps the part.
    until(lambda: not _is_sending(place), "the download of the killed command ended")
    place.hub.faults.slow = 0
    before = place.hub.bytes_sent
    done = place.run("pull", BIG)
    assert (done.returncode, done.stdout) == (0, f"{BIG}:Q4_K_M is ready (32 MB)\n")
    assert place.hub.bytes_sent - before < 0.9 * BIG_BYTES
    assert "range" in place.hub.files_asked()[-1].headers


def test_a_pulled_model_is_removed_with_its_files(place: Place, tmp_path: Path):
    with pytest.MonkeyPatch.context() as patch:
        for name, value in place.environment.items():
            patch.setenv(name, value)
        server = ServerProcess(tmp_path)
    with server:
        place.environment["LLAMABIND_URL"] = f"http://127.0.0.1:{server.port}"
        name = f"{REPO}:Q8_0"
        assert place.run("pull", name).returncode == 0
        cache = tmp_path / "cache"
        assert [path for path in cache.rglob("*.gguf") if path.exists()]
        refused = place.run("rm", name)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert "-y deletes at once" in refused.stderr
        done = place.run("rm", "-y", name)
        assert done.stdout == f"deleted {REPO}/tiny-chat-Q8_0.gguf\n", done.stderr
        left = [path for path in cache.rglob("*") if path.is_file() and path.stat().st_size > 1000]
        assert left == []
        assert REPO not in place.run("ls").stdout


def test_what_is_no_name_of_a_model_is_a_sentence(place: Place):
    done = place.run("pull", "nothing")
    assert (done.returncode, done.stdout) == (1, "")
    assert "'nothing' is not the name of a repository" in done.stderr
    assert "field" not in done.stderr


def test_what_the_hub_lacks_is_a_sentence(place: Place):
    done = place.run("pull", "fake/nothing")
    assert (done.returncode, done.stdout) == (1, "")
    assert "fake/nothing does not exist" in done.stderr.splitlines()[-1]


def _is_sending(place: Place) -> bool:
    """Whether the hub still sends a file."""
    sent = place.hub.bytes_sent
    time.sleep(1.0)
    return place.hub.bytes_sent != sent
