"""A prompt that can never fit is one error on every path of llama-server, with both numbers."""

from typing import Any

import pytest

from tests.support.server_app import Client, post

_LONG = "long 100"
_CHAT = {"messages": [{"role": "user", "content": _LONG}]}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/completion", {"prompt": _LONG}),
        ("/completions", {"prompt": [_LONG, "echo: a"]}),
        ("/v1/completions", {"prompt": _LONG}),
        ("/v1/chat/completions", _CHAT),
        ("/chat/completions", _CHAT),
        ("/v1/responses", {"input": _LONG}),
        ("/infill", {"input_prefix": "a", "input_suffix": "b", "prompt": _LONG}),
    ],
)
async def test_the_error_has_llama_servers_type_and_both_numbers(
    client: Client, path: str, body: dict[str, Any], stream: bool
) -> None:
    error = (await post(client, path, 400, **body, stream=stream))["error"]
    assert error["type"] == "exceed_context_size_error"
    assert (error["n_prompt_tokens"], error["n_ctx"]) == (100, 64)
