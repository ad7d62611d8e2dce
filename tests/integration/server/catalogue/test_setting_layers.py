"""Settings of a load over the server's: a request is not refused for settings it did not send."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from pytest_aiohttp.plugin import AiohttpClient

from llamabind.errors import InvalidParameterError
from server.catalogue.model_settings import ModelSettings
from server.protocol.load_settings import LoadSettings
from tests.support.gguf_files import write_gguf
from tests.support.server_app import Client, make_app
from tests.support.v2_requests import get, post

# A load as a client of /api/v2 sends it.
_REFERENCE = {
    "n_gpu_layers": 32,
    "n_ctx": 2048,
    "n_batch": 512,
    "threads": 4,
    "use_mlock": True,
    "f16_kv": True,
}


@pytest.mark.parametrize(
    ("own", "base", "both"),
    [
        ({"n_ctx": 64}, {"n_ctx": 32, "threads": 2}, {"n_ctx": 64, "threads": 2}),
        ({"f16_kv": True}, {"cache_type_k": "q8_0", "threads": 2}, {"f16_kv": True, "threads": 2}),
        (
            {"cache_type_k": "q8_0"},
            {"f16_kv": False},
            {"cache_type_k": "q8_0", "cache_type_v": "f32"},
        ),
        ({"flash_attn": "off"}, {"cache_type_v": "q8_0"}, {"flash_attn": "off"}),
        ({"cache_type_v": "q8_0"}, {"flash_attn": "off"}, {"cache_type_v": "q8_0"}),
        ({"split_mode": "none"}, {"tensor_split": (1.0, 1.0)}, {"split_mode": "none"}),
        ({"tensor_split": (1.0,)}, {"split_mode": "none"}, {"tensor_split": (1.0,)}),
        ({"split_mode": "tensor"}, {"flash_attn": "off"}, {"split_mode": "tensor"}),
        ({"flash_attn": "off"}, {"split_mode": "tensor"}, {"flash_attn": "off"}),
        ({"speculative": "off"}, {"draft_model": "d.gguf"}, {"speculative": "off"}),
        ({"draft_model": "d.gguf"}, {"speculative": "ngram"}, {"draft_model": "d.gguf"}),
        (
            {"speculative": "draft"},
            {"draft_model": "d.gguf"},
            {"speculative": "draft", "draft_model": "d.gguf"},
        ),
        ({"draft_max": 2}, {"draft_min": 4}, {"draft_max": 2}),
        ({"draft_min": 4}, {"draft_max": 2}, {"draft_min": 4}),
        ({"embedding": True}, {"n_batch": 512, "n_ctx": 64}, {"embedding": True, "n_ctx": 64}),
        ({"embedding": False}, {"embedding": True, "pooling": "mean"}, {"embedding": False}),
        ({"pooling": "cls"}, {"embedding": True}, {"embedding": True, "pooling": "cls"}),
        ({"n_batch": 512}, {"embedding": True, "pooling": "mean"}, {"embedding": True}),
        ({"chat_template": "chatml"}, {"embedding": True, "pooling": "mean"}, {}),
    ],
)
def test_base_settings_that_contradict_the_request_are_dropped(
    own: dict[str, Any], base: dict[str, Any], both: dict[str, Any]
) -> None:
    merged = LoadSettings(**own).over(LoadSettings(**base))
    merged.check_complete()
    assert both.items() <= msgspec.structs.asdict(merged).items()
    kept = set(msgspec.to_builtins(merged)) - set(own)
    assert kept <= set(base) | {"cache_type_v"}
    # Every dropped setting contradicts: with it the result is refused.
    for name in base.keys() - own.keys() - kept - {"f16_kv", "pooling"}:
        with pytest.raises(InvalidParameterError):
            msgspec.structs.replace(merged, **{name: base[name]})


@pytest.mark.parametrize(
    ("settings", "field"),
    [({"speculative": "draft"}, "draft_model"), ({"pooling": "mean"}, "pooling")],
)
def test_a_required_setting_that_no_layer_has_is_refused(
    settings: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        LoadSettings(**settings).over(LoadSettings(n_ctx=64)).check_complete()
    assert caught.value.field == field


async def _client(aiohttp_client: AiohttpClient, folder: Path, **settings: Any) -> Client:
    write_gguf(folder / "m.gguf")
    write_gguf(folder / "draft.gguf")
    return await aiohttp_client(make_app(folder, default_settings=LoadSettings(**settings)))


@pytest.mark.parametrize(
    ("defaults", "body"),
    [
        ({"cache_type_k": "q8_0"}, _REFERENCE),
        ({"cache_type_k": "q8_0", "cache_type_v": "q8_0"}, _REFERENCE),
        ({"embedding": True}, _REFERENCE),
        ({"n_batch": 512}, {"embedding": True}),
        ({"draft_model": "draft.gguf"}, {"speculative": "off"}),
        ({"embedding": True, "pooling": "mean"}, {"embedding": False}),
        ({"embedding": True}, {"pooling": "cls"}),
    ],
)
async def test_the_servers_settings_never_make_a_request_invalid(
    aiohttp_client: AiohttpClient,
    tmp_path: Path,
    defaults: dict[str, Any],
    body: dict[str, Any],
) -> None:
    client = await _client(aiohttp_client, tmp_path, **defaults)
    estimated = await post(client, "models/m.gguf/estimate", body)
    assert estimated["settings"]["requested"] == body
    loaded = await post(client, "models/m.gguf/load", body)
    assert loaded["settings"]["requested"] == body
    assert loaded["settings"]["defaults"] == defaults


@pytest.mark.parametrize("path", ["load", "load?stream=true", "estimate"])
async def test_a_missing_setting_is_a_400_that_names_it(
    aiohttp_client: AiohttpClient, tmp_path: Path, path: str
) -> None:
    client = await _client(aiohttp_client, tmp_path)
    answer = await post(client, f"models/m.gguf/{path}", {"pooling": "mean"}, status=400)
    assert answer["error"]["param"] == "pooling"


async def test_requested_default_and_effective_settings_are_reported_separately(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    write_gguf(tmp_path / "m.gguf")
    known = ModelSettings(models={"m.gguf": LoadSettings(n_ctx=64, ttl=600.0)})
    app = make_app(
        tmp_path, model_settings=known, default_settings=LoadSettings(threads=1), ttl_seconds=60.0
    )
    client = await aiohttp_client(app)
    before = (await get(client, "models/m.gguf"))["settings"]
    assert before == {
        "requested": {},
        "defaults": {"n_ctx": 64, "threads": 1, "ttl": 600.0},
        "effective": None,
    }
    settings = (await post(client, "models/m.gguf/load", {"n_parallel": 2}))["settings"]
    assert settings["requested"] == {"n_parallel": 2}
    assert (settings["effective"]["ttl"], settings["effective"]["pinned"]) == (600, False)
    settings = (await post(client, "models/m.gguf/load", {"ttl": -1, "pinned": True}))["settings"]
    assert settings["requested"] == {"ttl": -1, "pinned": True}
    assert (settings["effective"]["ttl"], settings["effective"]["pinned"]) == (-1, True)
    listed = (await get(client, "models"))["loaded_models"]["m.gguf"]
    assert (listed["ttl"], listed["pinned"]) == (-1, True)


async def test_a_model_without_a_ttl_uses_the_servers_ttl(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    write_gguf(tmp_path / "m.gguf")
    client = await aiohttp_client(make_app(tmp_path, ttl_seconds=90.0))
    settings = (await post(client, "models/m.gguf/load"))["settings"]
    assert settings["effective"]["ttl"] == 90
    # Ollama's keep_alive overrides it until the model is loaded again.
    await client.post("/api/generate", json={"model": "m.gguf", "keep_alive": "2m"})
    assert (await get(client, "models"))["loaded_models"]["m.gguf"]["ttl"] == 120
