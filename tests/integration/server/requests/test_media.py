"""Images and audio in requests: which are accepted, and how the others are refused."""

import asyncio
import base64
import contextlib
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestServer

from server.requests.media_parts import MAX_MEDIA
from tests.support.gguf_files import write_gguf
from tests.support.png_file import PNG_HEADER as PNG
from tests.support.server_app import Client, make_app

WAV = b"RIFF\0\0\0\0WAVEfmt " + bytes(20)
_JSON = {"Content-Type": "application/json"}
PART = "messages[0].content[1]"


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    write_gguf(tmp_path / "m.gguf")
    async with Client(TestServer(make_app(tmp_path))) as client:
        yield client


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def data_url(data: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64_of(data)}"


def image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, "detail": "low"}}


def sound(data: str) -> dict[str, Any]:
    return {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}


def body(*parts: Any, role: str = "user") -> dict[str, Any]:
    content = [{"type": "text", "text": "echo: "}, *parts]
    return {"model": "m.gguf", "messages": [{"role": role, "content": content}]}


async def _answer(client: Client, *parts: Any) -> str:
    response = await client.post("/v1/chat/completions", json=body(*parts))
    document = await response.json()
    assert response.status == 200, document
    content: str = document["choices"][0]["message"]["content"].strip()
    return content


async def _refusal(client: Client, document: dict[str, Any]) -> dict[str, Any]:
    response = await client.post("/v1/chat/completions", json=document)
    answer = await response.json()
    assert response.status == 400, answer
    error: dict[str, Any] = answer["error"]
    return error


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (image(data_url(PNG)), f"media:{len(PNG)}:{PART}.image_url"),
        ({"type": "image_url", "image_url": data_url(PNG)}, f"media:{len(PNG)}:{PART}.image_url"),
        (image(data_url(PNG, "IMAGE/PNG;name=x")), f"media:{len(PNG)}:{PART}.image_url"),
        (
            image("data:;base64," + base64.encodebytes(PNG).decode()),
            f"media:{len(PNG)}:{PART}.image_url",
        ),
        (sound(base64_of(WAV)), f"media:{len(WAV)}:{PART}.input_audio"),
    ],
)
async def test_the_worker_gets_the_bytes_of_the_file_and_its_field(
    client: Client, part: dict[str, Any], expected: str
) -> None:
    assert await _answer(client, part) == expected


async def test_text_parts_are_joined_to_one_text(client: Client) -> None:
    assert await _answer(client, {"type": "text", "text": "a"}) == "a"


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        (image("data:image/png,abc"), "not base64-encoded"),
        (image("data:image/png;base64,ab!c"), "invalid base64"),
        (image("data:image/png;base64,abc"), "invalid base64"),
        (image("file:///etc/passwd"), "send a data: URL"),
        (image("data:"), "expected a data: URL"),
        (image(""), "expected a data: URL"),
        (image(data_url(b"<svg/>")), "expected a PNG"),
        (image(data_url(WAV)), "expected image, got audio"),
    ],
    ids=range(8),
)
async def test_an_invalid_image_is_a_400_that_names_the_field(
    client: Client, part: dict[str, Any], reason: str
) -> None:
    error = await _refusal(client, body(part))
    assert error["param"] == f"{PART}.image_url"
    assert reason in error["message"]


async def test_an_image_larger_than_20_mb_is_refused(client: Client) -> None:
    document = json.dumps(body(image(data_url(bytes((20 << 20) + 1)))))
    response = await client.post(
        "/v1/chat/completions", data=io.BytesIO(document.encode()), headers=_JSON
    )
    assert response.status == 400
    assert "larger than 20 MB" in (await response.json())["error"]["message"]


async def test_a_request_with_more_than_128_images_is_refused(client: Client) -> None:
    images = [image(data_url(PNG))] * (MAX_MEDIA + 1)
    error = await _refusal(client, body(*images))
    assert error["param"] == f"messages[0].content[{MAX_MEDIA + 1}].image_url"
    assert f"{MAX_MEDIA + 1} images and audio files, limit {MAX_MEDIA}" in error["message"]
    assert (await _answer(client, *images[1:])).count("media:") == MAX_MEDIA


async def test_invalid_audio_is_a_400_that_names_the_field(client: Client) -> None:
    error = await _refusal(client, body(sound(base64_of(PNG))))
    assert error["param"] == f"{PART}.input_audio"
    assert "expected audio, got image" in error["message"]


async def test_an_image_of_the_assistant_is_left_out_with_a_warning(client: Client) -> None:
    document = body(image(data_url(PNG)), role="assistant")
    response = await client.post("/v1/chat/completions", json=document)
    assert response.status == 200, await response.text()
    assert "messages of this role may contain text only" in response.headers["X-Llamabind-Warnings"]


def _anthropic(*blocks: Any) -> dict[str, Any]:
    content = [{"type": "text", "text": "echo: "}, *blocks]
    return {"model": "m.gguf", "max_tokens": 9, "messages": [{"role": "user", "content": content}]}


_BLOCK = {"type": "image", "source": {"type": "base64", "data": base64_of(PNG)}}
_URL_BLOCK = {"type": "image", "source": {"type": "url", "url": data_url(PNG)}}
_USE = {"type": "tool_use", "id": "c", "name": "see", "input": {}}
_RESULT = {
    "type": "tool_result",
    "tool_use_id": "c",
    "content": [{"type": "text", "text": "echo: "}, _BLOCK],
}


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        (_anthropic(_BLOCK)["messages"], "messages[0].content[1].source.data"),
        (_anthropic(_URL_BLOCK)["messages"], "messages[0].content[1].source.url"),
        (
            [
                {"role": "user", "content": "x"},
                {"role": "assistant", "content": [_USE]},
                {"role": "user", "content": [_RESULT]},
            ],
            "messages[2].content[0].content[1].source.data",
        ),
    ],
)
async def test_image_blocks_of_anthropic_are_accepted(
    client: Client, messages: Any, param: str
) -> None:
    document = {"model": "m.gguf", "max_tokens": 9, "messages": messages}
    response = await client.post("/v1/messages", json=document)
    answer = await response.json()
    assert response.status == 200, answer
    assert answer["content"][0]["text"].strip() == f"media:{len(PNG)}:{param}"


@pytest.mark.parametrize(
    ("source", "param"),
    [
        ({"type": "base64", "url": "x"}, "data"),
        ({"type": "base64", "data": "!"}, "data"),
        ({"type": "url"}, "url"),
        ({"type": "url", "url": "file:///etc/passwd"}, "url"),
    ],
)
async def test_a_source_without_an_image_is_a_400_that_names_the_field(
    client: Client, source: dict[str, Any], param: str
) -> None:
    block = {"type": "image", "source": source}
    response = await client.post("/v1/messages", json=_anthropic(block))
    assert response.status == 400
    error = (await response.json())["error"]
    assert f"messages[0].content[1].source.{param}" in error["message"]


async def test_images_of_ollama_are_accepted(client: Client) -> None:
    message = {"role": "user", "content": "and what?", "images": [base64_of(PNG)]}
    body = {"model": "m.gguf", "stream": False}
    chat = await client.post("/api/chat", json={**body, "messages": [message]})
    generate = {**body, "prompt": "echo: a", "images": [base64_of(PNG)], "stream": False}
    whole = await client.post("/api/generate", json=generate)
    for response in (chat, whole):
        answer = await response.json()
        assert response.status == 200, answer


@pytest.mark.parametrize(
    ("path", "document", "param"),
    [
        (
            "/api/chat",
            {"messages": [{"role": "user", "content": "x", "images": [base64_of(PNG), "!"]}]},
            "messages[0].images[1]",
        ),
        ("/api/generate", {"prompt": "x", "images": [base64_of(WAV)]}, "images[0]"),
        ("/api/generate", {"prompt": "x", "images": ["x"], "raw": True}, "images"),
        (
            "/v1/responses",
            {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]},
            "input[0].content[0].image_url",
        ),
    ],
)
async def test_an_invalid_image_is_named_in_every_dialect(
    client: Client, path: str, document: dict[str, Any], param: str
) -> None:
    response = await client.post(path, json={"model": "m.gguf", **document})
    answer = await response.json()
    assert response.status == 400, answer
    found = answer["error"]["param"] if isinstance(answer["error"], dict) else answer["param"]
    assert found == param


async def test_an_image_of_the_responses_api_keeps_its_position(client: Client) -> None:
    items = [
        {"role": "system", "content": "a"},
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "echo: "},
                {"type": "input_image", "image_url": data_url(PNG), "detail": "auto"},
            ],
        },
    ]
    response = await client.post("/v1/responses", json={"model": "m.gguf", "input": items})
    answer = await response.json()
    assert response.status == 200, answer
    text = answer["output"][0]["content"][0]["text"].strip()
    assert text == f"media:{len(PNG)}:input[1].content[1].image_url"


async def test_text_requests_do_not_wait_for_images_being_encoded(client: Client) -> None:
    stuck = body(image(data_url(PNG)))
    stuck["messages"][0]["content"][0]["text"] = "stuck"
    waiting = asyncio.create_task(client.post("/v1/chat/completions", json=stuck))
    for _ in range(3):
        assert await _answer(client, {"type": "text", "text": "a"}) == "a"
    assert not waiting.done()
    waiting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await waiting
