"""The README's commands give the answers that the README shows."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator

import pytest

from tests.support.paths import ROOT
from tests.support.server_process import TINY, ServerProcess, all_events

pytestmark = pytest.mark.e2e

README = (ROOT / "README.md").read_text()
SENTENCE = "The capital of France is Paris."


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("models")) as process:
        # With more threads than idle cores a small model is slower by orders of magnitude.
        process.post(f"/api/v2/models/{TINY}/load", {"threads": 1})
        yield process


def _commands() -> list[tuple[str, str]]:
    """Path and body of every curl command in the README, to send without curl."""
    blocks = re.findall(r"```console\n(\$ curl .*?)```", README, re.DOTALL)
    return [_parse(shlex.split(block.replace("\\\n", " "))[1:]) for block in blocks]


def _parse(words: list[str]) -> tuple[str, str]:
    [url] = [word for word in words if word.startswith("http")]
    assert url.startswith("http://127.0.0.1:8080/")
    return url.removeprefix("http://127.0.0.1:8080"), words[words.index("-d") + 1]


def test_the_readme_has_two_curl_commands() -> None:
    chat = f"/api/v2/chat/{TINY}"
    assert [path for path, _ in _commands()] == [chat, f"{chat}/stream"]


def test_the_first_curl_answers_as_the_readme_shows(server: ServerProcess) -> None:
    path, body = _commands()[0]
    answer = server.post(path, body.encode())
    [block] = re.findall(r"```json\n(.*?)```", README, re.DOTALL)
    shown = json.loads(block)
    for changing in ("id", "created"):
        assert type(answer.pop(changing)) is type(shown.pop(changing))
    assert answer == shown
    assert answer["choices"][0]["message"]["content"] == SENTENCE


def test_the_second_curl_streams_the_sentence_in_several_events(server: ServerProcess) -> None:
    path, body = _commands()[1]
    with server.open(path, body.encode()) as response:
        *chunks, done = all_events(response)
    assert done == "[DONE]"
    assert len(chunks) > 3
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert "".join(delta["content"] for delta in deltas) == SENTENCE
