"""Requests that users of comparable servers reported are answered as `want` says.

A line of user-cases.jsonl, or of own-cases.jsonl with more of the same kinds, is one request:
`path` and `body`, in which MODEL is the model's id, and `want`: the `status`, a text that the
response `contains` or `lacks`, a regular expression that it `matches`, a JSON schema of the
answer's text (`content`), and the lowest `version` of the API. A body without a model gets the
bundled one.
"""

import http.client
import json
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.support.server_process import TINY, ServerProcess

pytestmark = pytest.mark.e2e

_FOLDER = Path(__file__).parent
# The cases that users reported, and others of the same kinds.
_FILES = ("user-cases.jsonl", "own-cases.jsonl")
_LINES = [line for name in _FILES for line in (_FOLDER / name).read_text().splitlines()]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("cases")) as process:
        yield process


def _name(case: dict[str, Any]) -> str:
    return str(case["id"])


def _send(server: ServerProcess, case: dict[str, Any]) -> tuple[int, str]:
    body = case["body"]
    if body is not None:
        body = {"model": TINY} | body
    text = None if body is None else json.dumps(body).replace('"MODEL"', json.dumps(TINY))
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=110)) as connection:
        connection.request(case["method"], case["path"], text)
        response = connection.getresponse()
        return response.status, response.read().decode()


def _numbers(version: str) -> list[int]:
    return [int(number) for number in version.split(".")]


def _content(document: Any) -> Any:
    """The text of a chat's answer, which must be JSON."""
    choice = document["choices"][0]
    assert choice["finish_reason"] == "stop", choice
    return json.loads(choice["message"]["content"])


@pytest.mark.parametrize("case", [json.loads(line) for line in _LINES], ids=_name)
def test_a_request_of_a_user_is_answered_as_wanted(
    server: ServerProcess, case: dict[str, Any]
) -> None:
    want = case["want"]
    assert want.keys() <= {"status", "contains", "lacks", "matches", "content", "version"}
    status, text = _send(server, case)
    assert status == want["status"], text
    assert want.get("contains", "") in text
    assert "lacks" not in want or want["lacks"] not in text
    assert re.search(want.get("matches", ""), text)
    if "content" in want:
        jsonschema.validate(_content(json.loads(text)), want["content"])
    if "version" in want:
        assert _numbers(json.loads(text)["version"]) >= _numbers(want["version"])


def test_every_case_has_its_own_name() -> None:
    names = [json.loads(line)["id"] for line in _LINES]
    assert len(names) == len(set(names)) >= 30
