"""Which model and which server `chat`, `run` and `bench` take."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from server.command.client import session
from server.command.client.address import Address
from server.command.client.errors import CommandError, NoServerError, RefusedError, UsageError
from server.command.client.session import open_model

BUNDLED = "tiny-chat.gguf"
PULLED = "org/repo/m-Q4_K_M.gguf"


def model(name: str, created: int = 0, state: str = "unloaded", **more: Any) -> dict[str, Any]:
    status = {"value": state, **more.pop("status", {})}
    return {
        "id": name,
        "created": created,
        "status": status,
        "capabilities": ["completion"],
        **more,
    }


class Server:
    """A client of a server with these models; without any it does not run."""

    def __init__(self, *models: dict[str, Any], runs: bool = True, is_chosen: bool = False) -> None:
        self.address = Address(is_chosen=is_chosen)
        self.models = models
        self.runs = runs
        self.loads: list[str] = []
        self.flags: Sequence[str] | None = None

    def is_running(self) -> bool:
        return self.runs

    def get(self, path: str) -> Any:
        if not self.runs:
            raise NoServerError("no server runs there")
        if path == "/v1/models":
            return {"data": self.models}
        if path == "/api/v2/models":
            return {"available_models": self.models}
        name = path.removeprefix("/api/v2/models/")
        for one in self.models:
            if name in (one["id"], one.get("alias")):
                return {"id": one["id"], "status": one["status"]["value"]}
        raise RefusedError(f"model '{name}' does not exist", 404, {})


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Opens a model on `running`, or on `own` where that does not run; returns its name."""

    def open_with(
        name: str | None, running: Server, own: Server | None = None, **flags: Any
    ) -> str:
        @contextmanager
        def start(words: Sequence[str] = ()) -> Iterator[Server]:
            assert own is not None
            own.flags = list(words)
            yield own

        def load(client: Server, model_id: str, _: Any) -> None:
            client.loads.append(model_id)

        def download(_: Server, reference: str) -> dict[str, Any]:
            return {"model_id": f"pulled {reference}"}

        def ready(client: Server, model_id: str) -> str:
            return model_id

        monkeypatch.setattr(session, "make_client", lambda _: running)
        monkeypatch.setattr(session, "own_server", start)
        monkeypatch.setattr(session, "load_with_bar", load)
        monkeypatch.setattr(session, "download", download)
        if name is not None and "/" in name and not name.endswith(".gguf"):
            monkeypatch.setattr(session, "_ready", ready)
        options = argparse.Namespace(model=name, url=None, models_dir=None, **flags)
        with open_model(options) as (_, found):
            return found

    return open_with


def test_the_loaded_model_is_taken(opened, capsys):
    server = Server(model("a.gguf", 1, "loaded"), model("b.gguf", 2))
    assert opened(None, server) == "a.gguf"
    assert server.loads == []
    assert "using a.gguf, which is loaded" in capsys.readouterr().err


def test_the_newest_is_taken_and_loaded_where_none_is(opened, capsys):
    server = Server(model("a.gguf", 1), model(PULLED, 2), model(BUNDLED, 3))
    assert opened(None, server) == PULLED
    assert server.loads == [PULLED]
    assert f"using {PULLED}, the newest" in capsys.readouterr().err


def test_the_only_model_is_taken_without_a_word_and_the_demo_with_one(opened, capsys):
    assert opened(None, Server(model("a.gguf"))) == "a.gguf"
    assert capsys.readouterr().err == ""
    assert opened(None, Server(model(BUNDLED))) == BUNDLED
    assert "a small demo; `llamabind pull" in capsys.readouterr().err


def test_models_that_cannot_chat_are_not_taken(opened):
    vectors = model("v.gguf", 9, "loaded", capabilities=["embedding"])
    broken = model("x.gguf", 8, status={"failed": True})
    assert opened(None, Server(vectors, broken, model("a.gguf"))) == "a.gguf"
    with pytest.raises(CommandError, match="no model that can chat"):
        opened(None, Server(vectors, broken))


def test_a_name_or_an_alias_is_the_servers_model(opened):
    server = Server(model(PULLED, alias="org/repo:Q4_K_M"))
    assert opened("org/repo:Q4_K_M", server) == PULLED


def test_a_model_of_the_hub_is_pulled_where_it_is_missing(opened):
    for name in ("org/repo", "org/repo:Q4_K_M", "hf.co/org/repo:Q4_K_M", "org/repo:Q8_0@main"):
        assert opened(name, Server()) == f"pulled {name}"
    for name in ("name", "folder/model.gguf", "a/b/c"):
        with pytest.raises(RefusedError):
            opened(name, Server())


def test_a_file_gets_a_server_of_its_own(opened, tmp_path: Path, monkeypatch, capsys):
    (tmp_path / "m.gguf").touch()
    monkeypatch.chdir(tmp_path)
    for name in (str(tmp_path / "m.gguf"), "./m.gguf", "m.gguf"):
        own = Server(model("m.gguf"))
        assert opened(name, Server(model("a.gguf")), own) == "m.gguf"
        assert own.flags == ["--model", str(tmp_path / "m.gguf")]
        assert opened(name, Server(runs=False), Server(model("m.gguf"))) == "m.gguf"
    assert "starting a server of m.gguf for this command" in capsys.readouterr().err


def test_a_name_that_the_server_knows_is_no_file(opened, tmp_path: Path, monkeypatch):
    (tmp_path / "m.gguf").touch()
    monkeypatch.chdir(tmp_path)
    assert opened("m.gguf", Server(model("m.gguf"))) == "m.gguf"
    with pytest.raises(NoServerError):
        opened("m.gguf", Server(runs=False, is_chosen=True))


def test_a_file_that_is_missing_is_named(opened):
    with pytest.raises(UsageError, match=r"the model file ./none.gguf does not exist"):
        opened("./none.gguf", Server())


def test_where_no_server_runs_one_is_started_unless_the_address_was_given(opened, capsys):
    own = Server(model("a.gguf"))
    assert opened(None, Server(runs=False), own) == "a.gguf"
    assert own.flags == []
    assert "no server runs at http://127.0.0.1:8080; starting one" in capsys.readouterr().err
    with pytest.raises(NoServerError):
        opened(None, Server(runs=False, is_chosen=True))
