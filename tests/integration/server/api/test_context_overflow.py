"""A prompt over the context: each dialect's own words, on which its clients act."""

from pathlib import Path
from typing import Any

import pytest
from pytest_aiohttp.plugin import AiohttpClient

from tests.support.gguf_files import write_gguf
from tests.support.server_app import make_app

_MESSAGES = [{"role": "user", "content": "long 100"}]


def _openai(param: str) -> str:
    return (
        f"This model's maximum context length is 64 tokens. However, your {param} resulted in 100 "
        f"tokens. Please reduce the length of the {param}, or load the model with a larger n_ctx "
        "(-c)."
    )


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("/v1/chat/completions", {"messages": _MESSAGES}, _openai("messages")),
        ("/v1/completions", {"prompt": "long 100"}, _openai("prompt")),
        ("/v1/responses", {"input": "long 100"}, _openai("input")),
        (
            "/v1/messages",
            {"messages": _MESSAGES, "max_tokens": 8},
            "prompt is too long: 100 tokens > 64 maximum",
        ),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_the_message_is_the_vendors(
    aiohttp_client: AiohttpClient,
    tmp_path: Path,
    path: str,
    body: dict[str, Any],
    message: str,
    stream: bool,
) -> None:
    write_gguf(tmp_path / "m.gguf")
    client = await aiohttp_client(make_app(tmp_path, header_hold_seconds=60))
    response = await client.post(path, json={"model": "m.gguf", "stream": stream, **body})
    error = (await response.json())["error"]
    assert response.status == 400
    assert error["message"] == message
    assert error["code"] == "context_length_exceeded"
    assert (error["n_prompt_tokens"], error["n_ctx"]) == (100, 64)


@pytest.mark.parametrize("path", ["/completion", "/api/generate"])
async def test_elsewhere_the_message_names_the_way_out(
    aiohttp_client: AiohttpClient, tmp_path: Path, path: str
) -> None:
    write_gguf(tmp_path / "m.gguf")
    client = await aiohttp_client(make_app(tmp_path, header_hold_seconds=60))
    response = await client.post(path, json={"model": "m.gguf", "prompt": "long 100"})
    assert response.status == 400
    text = await response.text()
    assert "100 tokens does not fit the context of 64 tokens" in text
    assert "n_ctx (-c)" in text


async def test_a_stream_that_has_begun_ends_with_the_vendors_words(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    write_gguf(tmp_path / "m.gguf")
    client = await aiohttp_client(make_app(tmp_path, header_hold_seconds=0.001))
    body = {"model": "m.gguf", "input": "long 100", "stream": True}
    text = await (await client.post("/v1/responses", json=body)).text()
    assert _openai("input") in text
