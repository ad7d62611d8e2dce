"""Requests that together need twice the KV cache all finish, with correct answers."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.server_process import TINY, ServerProcess

pytestmark = pytest.mark.e2e

_N_REQUESTS = 16
_N_CTX = 512
_QUESTIONS = [f"What is {a} + {b}?" for a in (2, 3, 4, 5) for b in (1, 2, 3, 4)]


def _ask(server: ServerProcess, question: str, **more: Any) -> Any:
    messages = [{"role": "user", "content": question}]
    return server.post(f"/api/v2/chat/{TINY}", {"messages": messages, "temperature": 0} | more)


def _text(answer: Any) -> str:
    content: str = answer["choices"][0]["message"]["content"]
    return content


def test_sixteen_requests_finish_with_half_the_kv_cells_they_need(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server:
        settings = {"threads": 1, "n_ctx": _N_CTX, "n_parallel": _N_REQUESTS, "cache_ram": 0}
        loaded = server.post(f"/api/v2/models/{TINY}/load", settings)["settings"]["effective"]
        # Without saved states in host memory, a preempted sequence is computed again.
        assert (loaded["n_ctx"], loaded["cache_ram"]) == (_N_CTX, 0)
        alone = [_ask(server, question) for question in _QUESTIONS]
        # The answers alone need twice the cache, however much the prompts share.
        n_predict = 2 * _N_CTX // _N_REQUESTS

        with ThreadPoolExecutor(_N_REQUESTS) as pool:
            answers = list(
                pool.map(
                    lambda question: _ask(server, question, n_predict=n_predict, ignore_eos=True),
                    _QUESTIONS,
                )
            )
        for answer, reference in zip(answers, alone, strict=True):
            assert answer["choices"][0]["finish_reason"] == "length"
            assert answer["usage"]["completion_tokens"] == n_predict
            # After its natural end an answer is noise, which rounding changes; compare up to there.
            assert _text(answer).startswith(_text(reference))
