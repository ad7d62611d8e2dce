"""llama-server's POST /slots/{id}, over a scripted engine: access, file names, replies."""

from pathlib import Path
from typing import Any

import pytest
from pytest_aiohttp.plugin import AiohttpClient

from tests.support.gguf_files import write_gguf
from tests.support.server_app import Client, make_app, post


async def _client(aiohttp_client: AiohttpClient, folder: Path, **settings: Any) -> Client:
    write_gguf(folder / "m.gguf")
    states = folder / "states"
    states.mkdir(exist_ok=True)
    client = await aiohttp_client(make_app(folder, **{"slot_save_path": states} | settings))
    headers = {"X-Api-Key": "admin"} if settings else {}
    assert (await client.post("/api/v2/models/m.gguf/load", headers=headers)).status == 200
    return client


async def test_a_slot_is_saved_restored_and_erased_in_llama_servers_words(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    client = await _client(aiohttp_client, tmp_path)
    saved = await post(client, "/slots/1?action=save", filename="a.bin")
    file = tmp_path / "states" / "a.bin"
    assert file.read_text() == "slot 1"
    assert saved.pop("timings")["save_ms"] == 2.5
    assert saved == {"id_slot": 1, "filename": "a.bin", "n_saved": 84, "n_written": 6}
    restored = await post(client, "/slots/0?action=restore", filename="a.bin")
    assert restored.pop("timings") == {"restore_ms": 2.5}
    assert restored == {"id_slot": 0, "filename": "a.bin", "n_restored": 84, "n_read": 6}
    erased = await client.post("/slots/1?action=erase&model=m.gguf")
    assert await erased.json() == {"id_slot": 1, "n_erased": 84}


_BAD_NAMES = [
    "",
    ".",
    "..",
    "../a",
    "a/b",
    "/etc/passwd",
    "a\\b",
    " a",
    "a ",
    "a.",
    ".hidden",
    "a\0b",
    "a\nb",
    "a:b",
    "a*",
    "x" * 256,
    "a\u202eb",
]


@pytest.mark.parametrize("name", _BAD_NAMES)
async def test_a_name_is_only_a_name(
    aiohttp_client: AiohttpClient, tmp_path: Path, name: str
) -> None:
    client = await _client(aiohttp_client, tmp_path)
    for action in ("save", "restore"):
        document = await post(client, f"/slots/0?action={action}", 400, filename=name)
        assert document["error"]["param"] == "filename"
    assert list((tmp_path / "states").iterdir()) == []


@pytest.mark.parametrize(
    ("path", "body", "status", "param"),
    [
        ("/slots/x?action=save", {"filename": "a"}, 400, "id_slot"),
        ("/slots/-1?action=save", {"filename": "a"}, 400, "id_slot"),
        ("/slots/99999999?action=erase", {}, 400, "id_slot"),
        ("/slots/9?action=erase", {}, 400, "id_slot"),
        ("/slots/0?action=copy", {}, 400, "action"),
        ("/slots/0", {}, 400, "action"),
        ("/slots/0?action=save", {}, 400, "filename"),
        ("/slots/0?action=save", {"filename": 5}, 400, "filename"),
        ("/slots/0?action=restore", {"filename": "none"}, 400, "filename"),
        ("/slots/7?action=save", {"filename": "a"}, 503, None),
        ("/slots/0?action=save", {"filename": "full"}, 500, None),
        ("/slots/0?action=save", {"filename": "a", "model": "nothing"}, 404, "model_id"),
    ],
)
async def test_what_cannot_be_is_refused(
    aiohttp_client: AiohttpClient,
    tmp_path: Path,
    path: str,
    body: dict[str, Any],
    status: int,
    param: str | None,
) -> None:
    client = await _client(aiohttp_client, tmp_path)
    assert (await post(client, path, status, **body))["error"]["param"] == param


async def test_only_admins_move_slots_and_only_with_a_folder_and_a_loaded_model(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    keys = {"api_keys": ("user",), "admin_keys": ("admin",)}
    guarded = await _client(aiohttp_client, tmp_path, **keys)
    path = "/slots/0?action=erase&model=m.gguf"
    for key, status in (("user", 403), ("admin", 200)):
        assert (await guarded.post(path, headers={"X-Api-Key": key})).status == status
    off = await _client(aiohttp_client, tmp_path, **keys, slot_save_path=None)
    assert (await off.post(path, headers={"X-Api-Key": "admin"})).status == 501
    unloaded = await aiohttp_client(make_app(tmp_path, slot_save_path=tmp_path))
    assert (await unloaded.post(path)).status == 409
