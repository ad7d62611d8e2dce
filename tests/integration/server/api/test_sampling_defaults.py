"""Defaults of sampling: where they are shown, and that a request's own values win."""

from pathlib import Path
from typing import Any

from pytest_aiohttp.plugin import AiohttpClient

from server.protocol.load_settings import LoadSettings
from server.protocol.sampling_defaults import SamplingDefaults
from tests.support.gguf_files import write_gguf
from tests.support.server_app import Client, chat_body, make_app

_DEFAULTS = LoadSettings(sampling=SamplingDefaults(temperature=0.25, n_predict=2, top_p=0.5))


async def _client(aiohttp_client: AiohttpClient, folder: Path) -> Client:
    write_gguf(folder / "m.gguf", general__sampling__top_k="7", general__sampling__top_p="0.75")
    return await aiohttp_client(make_app(folder, default_settings=_DEFAULTS))


async def get(client: Client, path: str) -> Any:
    response = await client.get(path)
    assert response.status == 200, await response.text()
    return await response.json()


async def post(client: Client, path: str, body: dict[str, Any]) -> Any:
    response = await client.post(path, json=body)
    assert response.status == 200, await response.text()
    return await response.json()


async def test_props_and_the_model_document_show_the_defaults(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    client = await _client(aiohttp_client, tmp_path)
    expected = {"temperature": 0.25, "top_p": 0.5, "top_k": 7, "n_predict": 2, "min_p": 0.05}
    props: Any = await get(client, "/props?model=m.gguf")
    assert expected.items() <= props["default_generation_settings"]["params"].items()
    body = {"sampling": {"top_k": 9}}
    loaded = await post(client, "/api/v2/models/m.gguf/load", body)
    assert loaded["settings"]["requested"] == body
    assert loaded["settings"]["effective"]["sampling"].items() >= (expected | {"top_k": 9}).items()
    # Another default needs no reload.
    again = await post(client, "/api/v2/models/m.gguf/load", {"sampling": {"top_k": 3}})
    assert again["load_time"] == loaded["load_time"]
    assert again["settings"]["effective"]["sampling"]["top_k"] == 3


async def test_answers_use_the_defaults_and_repeat_them(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    client = await _client(aiohttp_client, tmp_path)
    body = {"model": "m.gguf", "prompt": "echo: a b c", "temperature": 0.8}
    native: Any = await post(client, "/completion", body)
    assert native["content"] == "a b"
    settings = native["generation_settings"]
    assert (settings["temperature"], settings["top_k"], settings["n_predict"]) == (0.8, 7, 2)
    own: Any = await post(client, "/completion", body | {"n_predict": 3})
    assert own["content"] == "a b c"
    response: Any = await post(client, "/v1/responses", {"model": "m.gguf", "input": "echo: a b c"})
    assert (response["temperature"], response["top_p"]) == (0.25, 0.5)
    assert response["max_output_tokens"] == 2
    chat: Any = await post(client, "/v1/chat/completions", chat_body("echo: a b c", model="m.gguf"))
    assert chat["choices"][0]["message"]["content"] == "a b"


async def test_a_wrong_default_is_a_400_that_names_it(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    client = await _client(aiohttp_client, tmp_path)
    path = "/api/v2/models/m.gguf/load"
    for sampling, param in (
        ({"top_p": 7}, "sampling.top_p"),
        ({"top_q": 1}, "sampling.top_q"),
        ({"top_k": "x"}, "sampling.top_k"),
    ):
        response = await client.post(path, json={"sampling": sampling})
        assert response.status == 400
        assert (await response.json())["error"]["param"] == param
