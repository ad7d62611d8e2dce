"""`__verbose`: an answer in OpenAI's form has llama-server's own form inside, on request."""

import json
from pathlib import Path
from typing import Any

import pytest
from pytest_aiohttp.plugin import AiohttpClient

from tests.support.gguf_files import write_gguf
from tests.support.server_app import make_app

_CHAT = {"model": "m.gguf", "messages": [{"role": "user", "content": "echo: a b"}]}
_TEXT = {"model": "m.gguf", "prompt": "echo: a b"}


@pytest.mark.parametrize(
    ("path", "body"), [("/v1/chat/completions", _CHAT), ("/v1/completions", _TEXT)]
)
async def test_verbose_answers_come_as_requested_or_at_log_level_debug(
    aiohttp_client: AiohttpClient, tmp_path: Path, path: str, body: dict[str, Any]
) -> None:
    write_gguf(tmp_path / "m.gguf")
    for level, requested, expected in (
        ("info", None, False),
        ("info", True, True),
        ("debug", None, True),
        ("debug", False, False),
    ):
        client = await aiohttp_client(make_app(tmp_path, log_level=level))
        document = await (await client.post(path, json=body | {"verbose": requested})).json()
        assert ("__verbose" in document) == expected, (level, requested)
        if expected:
            native = document["__verbose"]
            assert (native["prompt"], native["content"]) == ("<1>" * 5, "a b")
            assert native["stop"] is True
            response = await client.post(path, json=body | {"stream": True, "verbose": True})
            events = [line for line in (await response.text()).split("\n\n") if line[6:7] == "{"]
            found = [json.loads(event[6:]).get("__verbose") for event in events]
            [end] = [one for one in found if one]
            assert (end["content"], end["prompt"], end["tokens_predicted"]) == ("", "<1>" * 5, 2)
