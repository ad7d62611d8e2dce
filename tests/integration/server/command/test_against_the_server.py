"""Subcommands against the real application: what they print, send and return."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from pytest_aiohttp.plugin import AiohttpClient

from server.command.main import main
from tests.support.gguf_files import write_gguf
from tests.support.server_app import Client, make_app

Run = Callable[..., Awaitable[tuple[int, str, str]]]


@pytest.fixture
def run(client: Client, capsys, monkeypatch) -> Run:
    return _runner(client, capsys, monkeypatch)


def _runner(client: Client, capsys, monkeypatch) -> Run:
    monkeypatch.setenv("LLAMABIND_URL", f"http://127.0.0.1:{client.port}")
    monkeypatch.delenv("LLAMABIND_API_KEY", raising=False)

    async def run(*words: str) -> tuple[int, str, str]:
        status = await asyncio.to_thread(main, words)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


@pytest.fixture
def give(monkeypatch) -> Iterator[Callable[[str], None]]:
    """Makes a text what a pipe at stdin has."""
    with contextlib.ExitStack() as opened:

        def put(text: str) -> None:
            reader, writer = os.pipe()
            with os.fdopen(writer, "w") as pipe:
                pipe.write(text)
            monkeypatch.setattr("sys.stdin", opened.enter_context(os.fdopen(reader)))

        yield put


async def test_ls_lists_the_models(run: Run):
    status, out, err = await run("ls")
    lines = out.splitlines()
    assert (status, err) == (0, "")
    assert lines[0].split()[:3] == ["NAME", "SIZE", "TYPE"]
    assert lines[1].startswith("m.gguf ")
    assert "unloaded" in lines[1]
    assert "\x1b" not in out
    assert (await run("ls", "-q"))[1] == "m.gguf\n"
    assert json.loads((await run("ls", "--json"))[1])[0]["id"] == "m.gguf"
    assert await run("list", "nope") == (0, "", "no model's name contains 'nope'\n")


async def test_load_ps_and_unload(run: Run):
    none = "no model is in memory; the first request that names one loads it\n"
    assert await run("ps") == (0, "", none)
    status, out, _ = await run("load", "m.gguf", "-np", "3", "--n-ctx", "32", "--ttl", "60")
    assert status == 0
    assert out.startswith("loaded m.gguf: 13 MB of memory, context of ")
    status, out, _ = await run("ps")
    assert status == 0
    row = out.splitlines()[1]
    assert row.startswith("m.gguf   loaded    13 MB   CPU")
    assert "after 1 min 0 s idle" in row
    [document] = json.loads((await run("ps", "--json"))[1])
    requested = document["settings"]["requested"]
    assert requested == {"n_parallel": 3, "n_ctx": 32, "ttl": 60}
    assert await run("unload", "m.gguf") == (0, "unloaded m.gguf\n", "")
    assert (await run("ps"))[1] == ""
    assert await run("unload", "--all", "--json") == (0, '{"unloaded": []}\n', "")


async def test_load_as_json_lines(run: Run):
    status, out, _ = await run("load", "m.gguf", "--json")
    documents = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    assert documents[-1]["status"] == "success"
    assert {"state"} <= {document.get("type") for document in documents[:-1]}


async def test_an_estimate_is_a_table_or_a_document(run: Run):
    status, out, _ = await run("load", "m.gguf", "--estimate", "-c", "32")
    assert status == 0
    assert out.splitlines()[0].split()[:2] == ["DEVICE", "NEEDED"]
    assert out.splitlines()[-1] == "fits"
    document = json.loads((await run("load", "m.gguf", "--estimate", "-c", "32", "--json"))[1])
    assert document["settings"]["requested"] == {"n_ctx": 32}
    assert (await run("ps"))[1] == ""


async def test_a_wrong_setting_is_the_servers_sentence(run: Run):
    status, out, err = await run("load", "m.gguf", "--cache-type-k", "q99")
    assert (status, out) == (2, "")
    assert "--cache-type-k" in err
    assert err.count("\n") == 1


async def test_show_has_sections(run: Run):
    status, out, _ = await run("show", "m.gguf")
    assert status == 0
    assert out.startswith("Model\n  name ")
    assert "Memory of a load" in out
    document = json.loads((await run("show", "m.gguf", "--json"))[1])
    assert document["id"] == "m.gguf"
    assert {"template", "capabilities", "estimate", "header", "settings"} <= document.keys()
    await run("load", "m.gguf", "-c", "32")
    assert "Loaded with\n" in (await run("show", "m.gguf"))[1]


async def test_a_model_that_does_not_exist(run: Run):
    for words in (("show", "x"), ("load", "x"), ("unload", "x"), ("rm", "-y", "x"), ("bench", "x")):
        status, out, err = await run(*words)
        assert (status, out) == (1, "")
        assert err == "llamabind: model 'x' does not exist; `llamabind ls` lists all models\n"


async def test_run_prints_the_answer_or_a_document(run: Run, give, tmp_path: Path):
    give("")
    status, out, _ = await run("run", "m.gguf", "echo:", "a", "b", "c")
    assert (status, out) == (0, "a b c\n")
    status, out, err = await run("run", "m.gguf", "echo: <r> hm </r> a", "-v")
    assert (status, out.strip()) == (0, "a")
    assert "tokens" in err
    status, out, _ = await run("run", "m.gguf", "--json", "echo: a")
    document = json.loads(out)
    assert document["content"].strip() == "a"
    assert document["usage"]["completion_tokens"] >= 1
    status, _, err = await run("run", "m.gguf", "--schema", str(tmp_path / "none"), "echo: a")
    assert status == 1
    assert "none cannot be read: No such file or directory" in err


async def test_run_reads_a_pipe_in_front_of_the_question(run: Run, give):
    give("echo: piped\n")
    status, out, _ = await run("run", "m.gguf", "asked")
    assert (status, out) == (0, "piped\n\nasked\n")
    give("echo: piped\n")
    assert (await run("run", "m.gguf"))[1] == "piped\n"


async def test_run_with_a_question_does_not_wait_for_an_input_that_never_ends(
    run: Run, monkeypatch
):
    ours, theirs = socket.socketpair()
    with ours, theirs, ours.makefile("r") as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        assert (await run("run", "m.gguf", "echo: a"))[1] == "a\n"


async def test_run_with_only_a_question_asks_for_the_model(run: Run, give):
    give("")
    status, out, err = await run("run", "How are you?")
    assert (status, out) == (2, "")
    assert "the first argument is the model: llamabind run MODEL 'How are you?'" in err


async def test_an_engine_that_dies_is_a_failure(run: Run, give):
    give("")
    status, _, err = await run("run", "m.gguf", "die")
    assert status == 1
    assert err.startswith("llamabind: ")
    assert "Traceback" not in err


async def test_chat_takes_the_only_model(run: Run, give):
    give("echo: hello\n/model\n")
    status, out, err = await run("chat")
    assert (status, out) == (0, "hello\n")
    assert "* m.gguf" in err


async def test_a_key_is_needed_and_taken(
    aiohttp_client: AiohttpClient, tmp_path: Path, capsys, monkeypatch, give
):
    write_gguf(tmp_path / "m.gguf")
    app = make_app(tmp_path, api_keys=("secret",), admin_keys=("admin",))
    run = _runner(await aiohttp_client(app), capsys, monkeypatch)
    status, _, err = await run("ls")
    assert status == 1
    assert err.endswith("needs an API key: set LLAMABIND_API_KEY, or give --api-key-file FILE\n")
    monkeypatch.setenv("LLAMABIND_API_KEY", "wrong")
    assert "does not know this API key" in (await run("ls"))[2]
    monkeypatch.setenv("LLAMABIND_API_KEY", "secret")
    assert (await run("ls", "-q"))[1] == "m.gguf\n"
    status, _, err = await run("load", "m.gguf")
    assert status == 1
    assert "give an admin key with LLAMABIND_API_KEY or --api-key-file FILE" in err
    # A chat loads its model without an admin key.
    give("echo: hello\n")
    assert (await run("chat"))[1] == "hello\n"
    file = tmp_path / "key"
    file.write_text("admin\n")
    assert (await run("unload", "--all", "--api-key-file", str(file)))[0] == 0


async def test_rm_asks_and_needs_a_terminal_for_that(run: Run):
    status, _, err = await run("rm", "m.gguf")
    assert status == 2
    assert "-y deletes at once" in err


async def test_what_is_no_server_of_ours_is_named(
    aiohttp_client: AiohttpClient, capsys, monkeypatch
):
    from aiohttp import web

    run = _runner(await aiohttp_client(web.Application()), capsys, monkeypatch)
    status, _, err = await run("ls")
    assert status == 1
    assert "is not a llamabind server; give the address of one" in err
