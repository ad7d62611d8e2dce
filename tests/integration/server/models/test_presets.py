"""Models of --models-preset: listed by their sections, loaded with their settings, read again."""

from pathlib import Path
from typing import Any

from pytest_aiohttp.plugin import AiohttpClient

from server.cli.presets import read_presets
from server.config import ServerConfig
from tests.support.gguf_files import write_gguf
from tests.support.server_app import Client, chat_body, make_app


async def _client(aiohttp_client: AiohttpClient, folder: Path, text: str) -> tuple[Client, Path]:
    file = folder / "presets.ini"
    file.write_text(text)
    models = folder / "models"
    models.mkdir(exist_ok=True)
    presets = read_presets(ServerConfig(models_dir=models, presets=file))
    app = make_app(models, presets=file, preset_models=presets)
    return await aiohttp_client(app), file


async def _models(client: Client, query: str = "") -> dict[str, Any]:
    response = await client.get(f"/models{query}")
    assert response.status == 200, await response.text()
    document = await response.json()
    assert [one["name"] for one in document["models"]] == [one["id"] for one in document["data"]]
    return {one["id"]: one for one in document["data"]}


async def test_a_section_is_a_model_with_its_name_tags_and_settings(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    write_gguf(tmp_path / "far" / "away.gguf")
    text = f"[mine]\nmodel = {tmp_path / 'far' / 'away.gguf'}\nc = 512\ntags = a,b\nalias = other\n"
    client, _ = await _client(aiohttp_client, tmp_path, text)
    listed = (await _models(client))["mine"]
    assert (listed["tags"], listed["source"]) == (["a", "b"], "preset")
    assert "other" in listed["aliases"]
    for name in ("mine", "other", "mine.gguf"):
        body = chat_body("echo: hi") | {"model": name}
        response = await client.post("/v1/chat/completions", json=body)
        assert response.status == 200, await response.text()
    state = await (await client.get("/api/v2/models/mine.gguf")).json()
    assert state["settings"]["defaults"]["n_ctx"] == 512
    assert str(tmp_path) not in str(state)


async def test_reload_reads_the_file_again_and_unloads_what_has_changed(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    for name in "abc":
        write_gguf(tmp_path / f"{name}.gguf")

    def section(name: str, more: str = "") -> str:
        return f"[{name}]\nmodel = {tmp_path / name}.gguf\n{more}"

    client, file = await _client(aiohttp_client, tmp_path, section("a") + section("b"))
    assert (await _models(client)).keys() == {"a", "b"}
    for name in "ab":
        response = await client.post("/models/load", json={"model": name})
        assert response.status == 200, await response.text()
        await client.post("/v1/chat/completions", json=chat_body("echo: x") | {"model": name})
    file.write_text(section("b") + section("c"))
    assert (await _models(client)).keys() == {"a", "b"}
    models = await _models(client, "?reload=1")
    assert models.keys() == {"b", "c"}
    assert models["b"]["status"]["value"] == "loaded"
    file.write_text(section("b", "c = 512\n") + section("c"))
    assert (await _models(client, "?reload=1"))["b"]["status"]["value"] == "unloaded"
    file.write_text("nonsense")
    response = await client.get("/models?reload=1")
    assert response.status == 400
    assert "line 1" in (await response.json())["error"]["message"]
    assert (await _models(client)).keys() == {"b", "c"}


async def test_a_model_that_was_not_downloaded_cannot_be_deleted(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    write_gguf(tmp_path / "models" / "m.gguf")
    client, _ = await _client(aiohttp_client, tmp_path, "[m]\nc = 512\n")
    response = await client.delete("/models?model=m")
    assert response.status == 400
    assert (await response.json())["error"]["code"] == "model_not_removable"
    assert (await client.delete("/models?model=nothing")).status == 404
    assert (await client.delete("/models")).status == 400
    assert (await _models(client)).keys() == {"m"}
