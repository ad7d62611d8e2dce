"""The settings file: its contents, and that errors name the line and key."""

from pathlib import Path

import pytest
from pytest_aiohttp.plugin import AiohttpClient

from server.catalogue.model_settings import ModelSettings
from server.protocol.load_settings import LoadSettings
from tests.support.gguf_files import write_gguf
from tests.support.server_app import chat_body, make_app

_GOOD = """
[defaults]
n_ctx = 4096
ttl = 600

[models."org/m.gguf"]
aliases = ["small", "gpt-4o"]
n_ctx = 64
pinned = true

[models."n.gguf"]
alias = "other"
"""


def _write(folder: Path, text: str) -> Path:
    path = folder / "models.toml"
    path.write_text(text)
    return path


def test_settings_of_a_model_override_the_defaults_which_override_the_servers(
    tmp_path: Path,
) -> None:
    known = ModelSettings.read(_write(tmp_path, _GOOD))
    base = LoadSettings(n_ctx=1, n_batch=7)
    own = known.of("org/m.gguf", base)
    assert own == LoadSettings(n_ctx=64, n_batch=7, ttl=600, pinned=True)
    assert known.of("unknown.gguf", base) == LoadSettings(n_ctx=4096, n_batch=7, ttl=600)
    assert known.aliases == {"small": "org/m.gguf", "gpt-4o": "org/m.gguf", "other": "n.gguf"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[defaults]\nn_ctxx = 1", r"line 2: \[defaults\] n_ctxx: .*did you mean 'n_ctx'"),
        ('[models."m.gguf"]\n\nwrong = 1', r"line 3: \[models.\"m.gguf\"\] wrong"),
        ('[models."m.gguf"]\nn_ctx = "many"', r"line 2: .*n_ctx: .*`int"),
        ('[models."m.gguf"]\nn_ctx = -5', r"line 2: .*n_ctx: .*>= 0"),
        ("[model.x]\nn_ctx = 1", "model: unknown key, did you mean 'models'"),
        ("models = 3", "models: expected a table"),
        ("[defaults]\naliases = ['x']", "aliases"),
        ("[models.a]\naliases = 3", "aliases: expected a name"),
        ('[models.a]\nalias = "x"\n[models.b]\nalias = "x"', "'x' is already an alias of 'a'"),
        ("[defaults\n", "line 1"),
    ],
)
def test_an_error_names_line_and_key(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ModelSettings.read(_write(tmp_path, text))


def test_a_missing_file_is_a_readable_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be read: No such file"):
        ModelSettings.read(tmp_path / "none.toml")


async def test_aliases_are_accepted_wherever_an_id_is(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    write_gguf(tmp_path / "org" / "m.gguf")
    known = ModelSettings.read(_write(tmp_path, _GOOD))
    client = await aiohttp_client(make_app(tmp_path, model_settings=known))
    answer = await client.post("/api/v2/chat/small", json=chat_body("echo: hi"))
    assert answer.status == 200
    document = await (await client.get("/api/v2/models/gpt-4o")).json()
    assert document["id"] == "org/m.gguf"
    assert document["settings"]["requested"] == {}
    assert document["settings"]["defaults"] == {"n_ctx": 64, "ttl": 600, "pinned": True}
    body = chat_body("echo: hi") | {"model": "gpt-4o"}
    assert (await client.post("/v1/chat/completions", json=body)).status == 200
    assert (await client.post("/api/v2/models/small/unload")).status == 200
    assert (await client.get("/v1/models/other")).status == 404


async def test_one_file_is_served_under_its_name_and_aliases(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    file = write_gguf(tmp_path / "files" / "one.gguf")
    write_gguf(tmp_path / "files" / "two.gguf")
    app = make_app(tmp_path / "none", model_file=file, aliases=("best",))
    client = await aiohttp_client(app)
    listed = await (await client.get("/api/v2/models")).json()
    assert [model["id"] for model in listed["available_models"]] == ["one.gguf"]
    assert (await client.get("/api/v2/models/best")).status == 200
    nameless = await client.post("/v1/chat/completions", json=chat_body("echo: a"))
    assert (await nameless.json())["model"] == "best"
    aliased = await client.post("/api/v2/chat/best", json=chat_body("echo: a"))
    assert (await aliased.json())["model"] == "best"
    assert (await client.get("/api/v2/models/two.gguf")).status == 404


async def test_a_server_of_one_file_loads_it_at_start_and_accepts_any_model_name(
    tmp_path: Path, aiohttp_client: AiohttpClient
) -> None:
    file = write_gguf(tmp_path / "only.gguf")
    client = await aiohttp_client(make_app(tmp_path / "none", model_file=file))
    chat = {"messages": [{"role": "user", "content": "Hi"}]}
    for body in (chat, chat | {"model": "gpt-4o"}):
        reply = await client.post("/v1/chat/completions", json=body)
        assert reply.status == 200, await reply.text()
        assert (await reply.json())["model"] == body.get("model", "only.gguf")
    listing = await (await client.get("/api/v2/models")).json()
    assert listing["loaded_models"]["only.gguf"]["status"] == "loaded"
