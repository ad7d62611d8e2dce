"""Requests that arrive while their model is unloaded, by its ttl, for another or by the kernel."""

import itertools
import random
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.memory_group import NEEDS, memory_group
from tests.support.paths import TINY_MODEL
from tests.support.server_process import TINY, ServerProcess, is_gone

pytestmark = pytest.mark.e2e

OTHER = "other.gguf"
SMALL = {"n_ctx": 512, "threads": 1}


def chat(server: ServerProcess, model: str, n_tokens: int = 4) -> tuple[int, Any]:
    body = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": n_tokens}
    return server.request("POST", f"/api/v2/chat/{model}", body)


def test_a_request_that_arrives_as_the_ttl_ends_is_answered(tmp_path: Path) -> None:
    random_ = random.Random(1)
    with ServerProcess(tmp_path, "--ttl", "1") as server:
        server.post(f"/api/v2/models/{TINY}/load", SMALL)
        workers = {server.engine()["pid"]}
        for _ in range(12):
            assert chat(server, TINY)[0] == 200
            workers |= server.workers()
            # The timer starts when the answer ends.
            time.sleep(1 + random_.uniform(-0.01, 0.03))
    assert len(workers) > 1, "the ttl ended sometimes"


def test_two_models_of_which_one_fits_take_turns_under_traffic(tmp_path: Path) -> None:
    shutil.copy(TINY_MODEL, tmp_path / OTHER)
    with ServerProcess(tmp_path, "--models-max", "1") as server, ThreadPoolExecutor(4) as pool:
        models = list(itertools.islice(itertools.cycle((TINY, OTHER)), 24))
        answers = list(pool.map(lambda model: chat(server, model), models))
        assert [status for status, _ in answers] == [200] * len(models), answers
        loaded = [one for one in server.get("/health")["models"].values() if "running" in one]
        assert len(loaded) == 1
        assert len(server.workers()) == 1


@pytest.fixture
def group() -> Iterator[Path]:
    """A control group of processes that may use no further memory."""
    with memory_group() as path:
        if path is None:
            pytest.skip(NEEDS)
        yield path


def test_an_out_of_memory_kill_ends_one_worker_and_is_named(tmp_path: Path, group: Path) -> None:
    shutil.copy(TINY_MODEL, tmp_path / OTHER)
    with ServerProcess(tmp_path) as server:
        server.post(f"/api/v2/models/{OTHER}/load", SMALL)
        server.post(f"/api/v2/models/{TINY}/load", SMALL)
        worker = server.engine()["pid"]
        (group / "cgroup.procs").write_text(str(worker))
        # The text and its tokens need memory that the kernel does not grant.
        while not is_gone(worker):
            text = {"model": TINY, "content": "word " * 100_000}
            assert server.request("POST", "/tokenize", text)[0] in (200, 503)
        assert chat(server, TINY)[0] == 200
        assert chat(server, OTHER)[0] == 200, "the other model goes on"
        assert server.engine()["pid"] != worker
        assert "SIGKILL (out of memory" in server.log.read_text()
