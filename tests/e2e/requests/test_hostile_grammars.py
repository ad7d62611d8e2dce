"""Hostile grammars over HTTP are a 400 or enforced, and four other streams are not affected."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from llamabind.native.model import Model
from llamabind.native.model_params import ModelParams
from tests.support.hostile_grammars import REFUSED, TRIED
from tests.support.paths import ROOT
from tests.support.server_process import TINY, ServerProcess, all_events, next_event
from tests.support.shim_grammar import ShimGrammar

pytestmark = pytest.mark.e2e

_BUNDLED = ROOT / "llamabind" / "models" / TINY
_CHAT = f"/api/v2/chat/{TINY}"
_QUESTIONS = ["Tell me a story", "Count to ten", "What is the sky?", "Who are you?"]


def _ask(question: str, **fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": question}], "temperature": 0, **fields}


def _text(events: list[Any]) -> str:
    assert events.pop() == "[DONE]"
    return "".join(event["choices"][0]["delta"]["content"] for event in events)


def test_every_hostile_grammar_is_a_400_or_enforced_and_four_streams_finish(tmp_path: Path) -> None:
    bodies = [_ask(question, n_predict=1500, ignore_eos=True) for question in _QUESTIONS]
    with ServerProcess(tmp_path) as server, Model(_BUNDLED, ModelParams(vocab_only=True)) as model:
        server.post(f"/api/v2/models/{TINY}/load", {"threads": 1, "n_ctx": 8192})
        with ExitStack() as stack:
            streams = [stack.enter_context(server.open(f"{_CHAT}/stream", body)) for body in bodies]
            first = [[next_event(stream)] for stream in streams]
            pid = server.engine()["pid"]
            for name, grammar in _grammars().items():
                body = _ask("Who are you?", n_predict=4, grammar=grammar)
                status, document = server.request("POST", _CHAT, body)
                _assert_refused_or_honoured(model, name, status, document)
            texts = [
                _text(head + all_events(stream))
                for head, stream in zip(first, streams, strict=True)
            ]
        assert server.engine()["pid"] == pid, "the worker died and was replaced"
        alone = [server.post(_CHAT, body)["choices"][0]["message"]["content"] for body in bodies]
    assert texts == alone


def _grammars() -> dict[str, str]:
    return {name: grammar for name, (grammar, _) in REFUSED.items()} | TRIED


def _assert_refused_or_honoured(model: Model, name: str, status: int, document: Any) -> None:
    if name in REFUSED or status != 200:
        assert (status, document["error"]["param"]) == (400, "grammar"), name
        return
    choice = document["choices"][0]
    text = choice["message"]["content"]
    if "\ufffd" in text:
        return  # the grammar asks for bytes that are not UTF-8, which JSON cannot contain
    with ShimGrammar(model, TRIED[name]) as grammar:
        n_tokens = len(model.tokenizer.encode(text, add_special=False, parse_special=True))
        assert grammar.accept_text(text) == n_tokens, name
        if choice["finish_reason"] == "stop":
            assert grammar.is_complete(), name
        else:
            assert choice["finish_reason"] == "length", name
