"""Hostile model files are listed, refused or loaded, and other models keep answering.

LLAMABIND_HOSTILE_FILES is the number of files; 200 take half a minute on 2 cores.
"""

import collections
import os
from pathlib import Path
from typing import Any

import psutil
import pytest
from hostile_gguf import write_hostile_files

from tests.support.server_process import TINY, ServerProcess

pytestmark = pytest.mark.e2e

_COUNT = int(os.environ.get("LLAMABIND_HOSTILE_FILES", "200"))
_LOAD_SECONDS = 30
# A false header must not allocate more; the server and its workers inherit this limit.
_MEMORY_BYTES = 8 << 30
_QUESTION = {
    "messages": [{"role": "user", "content": "What is the capital of France?"}],
    "temperature": 0,
}
_ANSWER = "The capital of France is Paris."
# The statuses that a bad file may cause; 503 means that the worker died.
_REFUSALS = (400, 503, 507)


def _ask(server: ServerProcess) -> str:
    answer = server.post(f"/api/v2/chat/{TINY}", _QUESTION)
    return str(answer["choices"][0]["message"]["content"])


def _load(server: ServerProcess, model_id: str) -> str:
    """Load the model and ask it; returns "loaded" or the `reason` of the error."""
    settings = {"n_ctx": 256, "threads": 1}
    status, document = server.request("POST", f"/api/v2/models/{model_id}/load", settings)
    if status == 200:
        # The weights may be damaged: the request must be answered, or end with an error.
        body = {"messages": _QUESTION["messages"], "n_predict": 2}
        status, document = server.request("POST", f"/api/v2/chat/{model_id}", body)
        # Damaged weights may compute NaN, which the engine reports.
        is_nan = status == 500 and document["error"]["code"] == "engine_failed"
        assert is_nan or status in (200, *_REFUSALS), document
        server.request("POST", f"/api/v2/models/{model_id}/unload")
        return "loaded"
    error: dict[str, Any] = document["error"]
    assert error["reason"], document
    # Never a 500: the file is at fault, and llama.cpp has logged what is wrong with it.
    assert error["reason"] != "unknown", document
    assert status in _REFUSALS, document
    assert error["message"]
    assert "Traceback" not in error["message"]
    return str(error["reason"])


@pytest.mark.timeout(60 + 5 * _COUNT)
def test_every_file_loads_or_fails_with_a_reason_and_valid_models_keep_answering(
    tmp_path: Path,
) -> None:
    names = [path.name for path in write_hostile_files(tmp_path, _COUNT)]
    with ServerProcess(tmp_path, "--load-timeout", str(_LOAD_SECONDS)) as server:
        limits = (_MEMORY_BYTES, _MEMORY_BYTES)
        psutil.Process(server.process.pid).rlimit(psutil.RLIMIT_AS, limits)
        server.post(f"/api/v2/models/{TINY}/load", {"n_ctx": 512, "threads": 1})
        listed = {model["id"]: model for model in server.get("/api/v2/models")["available_models"]}
        # A file whose damaged header names a projector or an adapter is not listed as a model.
        assert len(set(names) - listed.keys()) <= _COUNT // 20
        results = collections.Counter[str]()
        for number, name in enumerate(names):
            if name in listed:
                results[_load(server, name)] += 1
            if number % 10 == 0:
                assert _ask(server) == _ANSWER
        assert server.get("/api/v2/health")["status"] == "healthy"
        assert server.process.poll() is None
        assert _ask(server) == _ANSWER
    assert results["corrupt_file"] > _COUNT // 4, results
    assert results["timeout"] == 0, results
    # A header that our reader accepts and llama.cpp aborts on.
    assert results["crashed"] <= _COUNT // 20, results
