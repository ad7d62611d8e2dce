"""Where the command finds its server, and with which key."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.command.client.address import DEFAULT_PORT, Address, find_address, parse_address
from server.command.client.errors import UsageError
from server.command.client.keys import find_key
from server.command.client.paths import chat_path, download_path, model_path
from server.config import ServerConfig


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("http://box:9000/llm/", Address("box", 9000, "http", "/llm")),
        ("https://box", Address("box", 443, "https")),
        ("http://box", Address("box", 80)),
        ("box:9000", Address("box", 9000)),
        ("http://[::1]:9000", Address("::1", 9000)),
        ("unix:/run/a.sock", Address(socket="/run/a.sock")),
        ("unix:///run/a.sock", Address(socket="/run/a.sock")),
        ("/run/a.sock", Address(socket="/run/a.sock")),
        ("a.sock", Address(socket="a.sock")),
    ],
)
def test_an_address_has_the_forms_that_the_server_prints_and_people_type(text, address):
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text", ["ftp://box", "http://", "http://box:port", "http://box:70000", ":1"]
)
def test_what_is_no_address_is_named(text):
    with pytest.raises(UsageError, match=r"--url: '.*' is not an address"):
        parse_address(text)


@pytest.mark.parametrize(
    ("variables", "text", "is_chosen"),
    [
        ({}, "http://127.0.0.1:8080", False),
        ({"LLAMABIND_URL": "box:1"}, "http://box:1", True),
        ({"LLAMABIND_URL": "box:1", "LLAMA_ARG_PORT": "2"}, "http://box:1", True),
        ({"LLAMA_ARG_PORT": "9000"}, "http://127.0.0.1:9000", False),
        ({"LLAMA_ARG_PORT": "0"}, "http://127.0.0.1:8080", False),
        ({"LLAMA_ARG_HOST": "0.0.0.0", "LLAMA_ARG_API_PREFIX": "/a/"}, "http://127.0.0.1:8080/a",
         False),
        ({"LLAMA_ARG_HOST": "::"}, "http://[::1]:8080", False),
        ({"LLAMA_ARG_HOST": "/run/a.sock,127.0.0.1"}, "unix:/run/a.sock", False),
    ],
)  # fmt: skip
def test_without_a_url_the_servers_own_variables_say_where_it_listens(variables, text, is_chosen):
    address = find_address(None, variables)
    assert (str(address), address.is_chosen) == (text, is_chosen)


def test_a_url_on_the_command_line_comes_first():
    assert str(find_address("a:1", {"LLAMABIND_URL": "b:2"})) == "http://a:1"


def test_the_default_port_is_the_servers():
    assert ServerConfig().port == DEFAULT_PORT


def test_a_key_comes_from_the_file_then_from_the_environment(tmp_path: Path):
    file = tmp_path / "keys"
    file.write_text("# mine\n\n first \nsecond\n")
    every = {"LLAMABIND_API_KEY": "own", "LLAMA_API_KEY": "of-server,other"}
    assert find_key(str(file), every) == "first"
    assert find_key(None, every) == "own"
    assert find_key(None, {"LLAMA_API_KEY": "of-server,other"}) == "of-server"
    assert find_key(None, {"LLAMA_ARG_API_KEY_FILE": str(file)}) == "first"
    assert find_key(None, {}) is None


def test_a_key_that_cannot_be_used_is_named_but_not_shown(tmp_path: Path):
    empty = tmp_path / "keys"
    empty.write_text("# nothing\n")
    with pytest.raises(UsageError, match="has no key"):
        find_key(str(empty), {})
    with pytest.raises(UsageError, match=r"cannot be read: .*: No such file"):
        find_key(str(tmp_path / "missing"), {})
    with pytest.raises(UsageError) as found:
        find_key(None, {"LLAMABIND_API_KEY": "geh\nim"})
    assert "geh" not in str(found.value)


def test_the_names_of_models_are_quoted_in_paths():
    assert model_path("org/repo:Q4", "load") == "/api/v2/models/org/repo:Q4/load"
    assert model_path("a b?.gguf") == "/api/v2/models/a%20b%3F.gguf"
    assert chat_path("m.gguf") == "/api/v2/chat/m.gguf/stream"
    assert download_path("dl-1", stream="true") == "/api/v2/downloads/dl-1?stream=true"
