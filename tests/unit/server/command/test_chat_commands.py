"""The /commands of a chat, over a scripted transport."""

from __future__ import annotations

import base64
import errno
import json
import os
from pathlib import Path

import pytest

from server.command.client.errors import CommandError
from server.command.talk.commands import help_text, is_command
from server.command.talk.conversation import Conversation
from tests.support.terminal_chat import (
    Transport,
    sent,
    talk,
)


@pytest.mark.parametrize(
    ("text", "is_one"),
    [("/help", True), ("/set temperature 1", True), ("/etc/hosts is what?", False),
     ("// why", False), ("a /help", False), ("/", True)],
)  # fmt: skip
def test_what_is_a_command(text, is_one):
    assert is_command(text) is is_one


def test_help_lists_every_command(capsys):
    talk(Transport(), "/help", "/?")
    assert capsys.readouterr().err == f"{help_text()}\n" * 2
    for word in (
        "/help",
        "/clear",
        "/system",
        "/model",
        "/set",
        "/save",
        "/load",
        "/regenerate",
        "/image",
    ):
        assert f"  {word}" in help_text()


def test_an_unknown_command_is_not_sent(capsys):
    transport = Transport()
    talk(transport, "/nope")
    assert transport.requests == []
    assert capsys.readouterr().err == "error: unknown command /nope; /help lists all\n"


def test_clear_and_system():
    transport = Transport("Hi", "Ho", "Hu")
    talk(transport, "hello", "/clear", "/system Be brief", "again", "/system -", "more")
    assert sent(transport, 1) == [("system", "Be brief"), ("user", "again")]
    assert sent(transport, 2)[0] == ("user", "again")


def test_regenerate_asks_the_last_message_anew(capsys):
    transport = Transport("Hi", "Hey")
    _, chat = talk(transport, "/regenerate", "hello", "/regenerate")
    assert capsys.readouterr().err == "error: there is no answer yet\n"
    assert sent(transport, 0) == sent(transport, 1) == [("user", "hello")]
    assert chat.conversation.messages[-1] == {"role": "assistant", "content": "Hey"}


def test_model_switches_and_lists(capsys):
    transport = Transport("Hi")
    talk(transport, "/model", "/model other.gguf", "/model nope", "hello")
    err = capsys.readouterr().err
    assert "* m.gguf\n  other.gguf\n" in err
    assert "error: model 'nope' does not exist" in err
    assert transport.requests[0][0] == "other.gguf"


def test_set_and_unset_fields_of_the_request(tmp_path: Path, capsys):
    schema = tmp_path / "schema.json"
    schema.write_text('{"type": "object"}')
    transport = Transport("Hi", "Ho")
    talk(
        transport,
        *("/set temperature 0.2", "/set top-k 5", "/set think off", "/set ignore_eos on"),
        *(f"/set schema {schema}", "/set stop END", "one"),
        *("/unset temperature", "/unset think", "/unset schema", "/unset nope", "/unset", "two"),
        *("/set temperature hot", "/set nope 1", "/set"),
    )
    first, second = (request for _, request in transport.requests)
    assert (first["temperature"], first["top_k"], first["enable_thinking"]) == (0.2, 5, False)
    assert first["response_format"]["json_schema"]["schema"] == {"type": "object"}
    assert (first["stop"], first["ignore_eos"]) == (["END"], True)
    assert second.keys() & {"temperature", "response_format", "enable_thinking"} == set()
    assert second["top_k"] == 5
    err = capsys.readouterr().err
    assert "error: nope is not set" in err
    assert "error: /unset needs the name of a setting" in err
    assert "error: temperature: 'hot' is not a number" in err
    assert "error: unknown setting nope; /set lists all" in err
    assert "  top_k 5" in err


def test_speed_is_printed_when_asked(capsys):
    talk(Transport("Hi", "Ho"), "/set speed", "hello", "/set speed off", "more")
    err = capsys.readouterr().err
    assert err.count("prompt 12 tokens (5 cached), answer 3 tokens") == 1
    assert "answer at 20.0 tokens/s" in err


def test_a_conversation_that_does_not_fit_on_its_disk_leaves_the_older_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "notes"
    conversation = Conversation()
    conversation.add_user("hello")
    conversation.save(str(path), "m")
    before = path.read_text()
    conversation.add_user("more")

    def write_half(part: Path, text: str) -> None:
        with part.open("w") as file:
            file.write(text[:10])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", write_half)
    with pytest.raises(CommandError, match=r"notes\S* cannot be written: No space left on device"):
        conversation.save(str(path), "m")
    assert path.read_text() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_conversation_is_saved_through_a_link_and_to_a_pipe(tmp_path: Path) -> None:
    real, link, pipe = tmp_path / "real", tmp_path / "link", tmp_path / "pipe"
    link.symlink_to(real)
    os.mkfifo(pipe)
    conversation = Conversation()
    conversation.save(str(link), "m")
    assert link.is_symlink()
    assert json.loads(real.read_text())["model"] == "m"
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    conversation.save(str(pipe), "m")
    assert os.read(reader, 1 << 16).decode() == real.read_text()
    os.close(reader)


def test_a_conversation_is_saved_and_loaded(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    talk(Transport("Hi"), "/system S", "hello", "/save mine", "/save")
    transport = Transport("Ho")
    talk(transport, "/load mine", "more", "/load nope", "/load")
    said = [("user", "hello"), ("assistant", "Hi"), ("user", "more")]
    assert sent(transport) == [("system", "S"), *said]
    assert (tmp_path / "state" / "llamabind").stat().st_mode & 0o077 == 0
    err = capsys.readouterr().err
    assert "error: /save needs a name" in err
    assert "nope.json cannot be read: No such file or directory" in err


@pytest.mark.parametrize(
    "content", ["", "[]", '{"system": 1, "messages": []}', '{"system": "", "messages": [1]}']
)
def test_a_file_that_is_no_conversation_is_refused(content, tmp_path: Path):
    path = tmp_path / "a.json"
    path.write_text(content)
    with pytest.raises(CommandError, match="is not a conversation"):
        Conversation().load(str(path))


def test_an_image_goes_out_with_the_next_message(tmp_path: Path, capsys):
    image = tmp_path / "a b.png"
    image.write_bytes(b"\x89PNG")
    sound = tmp_path / "a.mp3"
    sound.write_bytes(b"ID3")
    transport = Transport("a cat", "still")
    attach = (f"/image '{image}'", f"/audio {sound}")
    wrong = ("/image a.txt", "/image b.png", "/image")
    talk(transport, *attach, "what is it?", "sure?", *wrong)
    [image_part, sound_part, text] = sent(transport, 0)[0][1]
    content = base64.b64encode(b"\x89PNG").decode()
    assert image_part["image_url"]["url"] == f"data:image/png;base64,{content}"
    assert sound_part["input_audio"] == {"data": base64.b64encode(b"ID3").decode(), "format": "mp3"}
    assert text == {"type": "text", "text": "what is it?"}
    assert sent(transport, 1)[-1] == ("user", "sure?")
    err = capsys.readouterr().err
    assert "a.txt is not that of an image or audio file" in err
    assert "b.png cannot be read: No such file or directory" in err
