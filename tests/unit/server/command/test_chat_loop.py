"""A chat over a scripted transport: messages, answers, Ctrl-C, /commands."""

from __future__ import annotations

import base64
import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from server.command.client.errors import CommandError, NoServerError, RefusedError
from server.command.talk.answer import Answer, Printer, ending_note, speed_note
from server.command.talk.commands import Chat, help_text, is_command
from server.command.talk.conversation import Conversation
from server.command.talk.loop import chat_loop
from server.command.talk.prompt import MORE, Prompt

USAGE = {
    "prompt_tokens": 12,
    "completion_tokens": 3,
    "prompt_tokens_details": {"cached_tokens": 5},
}
TIMINGS = {"prompt_per_second": 100.0, "predicted_per_second": 20.0}
CTRL_C, CTRL_D = KeyboardInterrupt, EOFError


class Models:
    def names(self) -> list[str]:
        return ["m.gguf", "other.gguf"]

    def choose(self, name: str) -> str:
        if name not in self.names():
            raise RefusedError(f"model '{name}' does not exist", 404, {})
        return name


class Transport:
    """Answers every request with the next script: texts, or exceptions that it raises."""

    def __init__(self, *scripts: Any) -> None:
        self._scripts = list(scripts)
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.n_closed = 0

    def ask(self, model: str) -> Any:
        return lambda request: self._stream(model, request)

    def _stream(self, model: str, request: dict[str, Any]) -> Generator[Any, None, None]:
        self.requests.append((model, json.loads(json.dumps(request))))
        script = self._scripts.pop(0)
        try:
            for part in script if isinstance(script, list) else [script]:
                if isinstance(part, str):
                    yield {"choices": [{"delta": {"content": part}}]}
                elif isinstance(part, dict):
                    yield part
                else:
                    raise part
            end = {"delta": {"content": ""}, "finish_reason": "stop"}
            yield {"choices": [end], "timings": TIMINGS}
            yield {"choices": [], "usage": USAGE}
        finally:
            self.n_closed += 1


def lines(*script: Any):
    """A ReadLine that returns texts and raises exceptions, then the end of the input."""
    left = list(script)

    def read(_: str) -> str:
        one = left.pop(0) if left else CTRL_D
        if isinstance(one, str):
            return one
        raise one

    return read


def talk(transport: Transport, *script: Any, **options: Any) -> tuple[int, Chat]:
    chat = Chat(model="m.gguf", models=Models())
    status = chat_loop(chat, transport.ask, Prompt(lines(*script)), **options)
    return status, chat


def sent(transport: Transport, index: int = -1) -> list[tuple[str, Any]]:
    return [(one["role"], one["content"]) for one in transport.requests[index][1]["messages"]]


def test_a_conversation_is_sent_whole_with_each_message(capsys):
    transport = Transport(["Hi", " there"], "Bye")
    status, _ = talk(transport, "hello", "and now?")
    assert status == 0
    assert capsys.readouterr().out == "Hi there\nBye\n"
    assert sent(transport, 0) == [("user", "hello")]
    assert sent(transport) == [("user", "hello"), ("assistant", "Hi there"), ("user", "and now?")]


def test_ctrl_c_stops_the_answer_and_keeps_what_came(capsys):
    transport = Transport(["Once", " upon", CTRL_C()], "go on")
    status, _ = talk(transport, "a story", "more")
    captured = capsys.readouterr()
    assert status == 0
    assert captured.out == "Once upon\ngo on\n"
    assert "(stopped)" in captured.err
    # The stream was closed, by which the server cancels the request.
    assert transport.n_closed == 2
    assert sent(transport)[1] == ("assistant", "Once upon")


def test_ctrl_c_before_the_first_word_takes_the_message_back(capsys):
    transport = Transport([CTRL_C()], "yes")
    talk(transport, "wrong", "right")
    assert sent(transport) == [("user", "right")]
    assert capsys.readouterr().out == "yes\n"


def test_ctrl_c_at_the_prompt_leaves_at_the_second_time_in_a_row(capsys):
    transport = Transport("Hi")
    status, _ = talk(transport, CTRL_C, "hello", CTRL_C, CTRL_C, "never read")
    assert status == 130
    assert len(transport.requests) == 1
    assert capsys.readouterr().err.count("Ctrl-C again, Ctrl-D or /bye to leave") == 2


def test_an_error_of_a_request_does_not_end_the_chat(capsys):
    transport = Transport([RefusedError("the prompt is too long", 400, {})], "Hi")
    status, _ = talk(transport, "x" * 100, "hello")
    captured = capsys.readouterr()
    assert status == 0
    assert captured.err == "error: the prompt is too long\n"
    assert sent(transport) == [("user", "hello")]


def test_a_full_context_has_advice(capsys):
    error = RefusedError("too long", 400, {"code": "context_length_exceeded"})
    talk(Transport([error]), "hello")
    assert capsys.readouterr().err == "error: too long; /clear starts a new conversation\n"


def test_a_server_that_is_gone_ends_the_chat():
    with pytest.raises(NoServerError):
        talk(Transport([NoServerError("gone")]), "hello", "again")


def test_a_stream_that_ends_early_is_an_error(capsys):
    class Lost(Transport):
        def _stream(self, model: str, request: dict[str, Any]) -> Generator[Any, None, None]:
            yield {"choices": [{"delta": {"content": "Hi"}}]}

    talk(Lost(), "hello")
    captured = capsys.readouterr()
    assert captured.out == "Hi\n"
    assert captured.err.startswith("error: the server closed the connection")


def test_warnings_are_printed_to_stderr(capsys):
    first = {"warnings": ["the schema lost a keyword"], "choices": [{"delta": {"content": "{"}}]}
    talk(Transport([first]), "hello")
    captured = capsys.readouterr()
    assert captured.out == "{\n"
    assert "warning: the schema lost a keyword" in captured.err


def test_json_is_one_line_for_each_answer(capsys):
    talk(Transport("Hi", "Bye"), "a", "b", as_json=True)
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [answer["content"] for answer in answers] == ["Hi", "Bye"]
    assert answers[0]["usage"] == USAGE
    assert answers[0]["finish_reason"] == "stop"


def test_a_message_between_quotes_has_several_lines():
    transport = Transport("ok", "ok", "ok")
    talk(transport, '"""first', "  second", 'third"""', '"""one line"""', "a\\", "b")
    assert sent(transport, 0)[-1] == ("user", "first\n  second\nthird")
    assert sent(transport, 1)[-1] == ("user", "one line")
    assert sent(transport, 2)[-1] == ("user", "a\nb")


def test_further_lines_have_their_own_prompt():
    shown: list[str] = []
    read = lines('"""a', 'b"""')

    def show(text: str) -> str:
        shown.append(text)
        return read(text)

    prompt = Prompt(show)
    assert prompt.read() == "a\nb"
    assert shown == [">>> ", MORE]


def test_empty_lines_are_no_messages():
    transport = Transport()
    assert talk(transport, "", "   ")[0] == 0
    assert transport.requests == []


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


def test_bye_leaves():
    transport = Transport()
    for word in ("/bye", "/exit", "/quit"):
        assert talk(transport, word, "never read")[0] == 0
    assert transport.requests == []


class _Terminal:
    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return True


def test_reasoning_is_dimmed_in_a_terminal_and_left_out_of_a_pipe(monkeypatch, capsys):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    terminal = _Terminal()
    printer = Printer(terminal)  # type: ignore[arg-type]
    printer.reasoning("hm")
    printer.reasoning(" so")
    printer.content("\n\nParis\x1b[2J")
    printer.end_line()
    assert terminal.text == "\x1b[2m[reasoning] hm so\x1b[0m\n\nParis[2J\n"
    pipe = Printer()
    pipe.reasoning("hm")
    pipe.content("Paris\x1b[2J")
    pipe.end_line()
    assert capsys.readouterr().out == "Paris\x1b[2J\n"


def test_colours_end_with_a_stopped_answer(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    terminal = _Terminal()
    printer = Printer(terminal)  # type: ignore[arg-type]
    printer.reasoning("hm")
    printer.end_line()
    assert terminal.text.endswith("\x1b[0m\n")


def test_notes_after_an_answer():
    assert ending_note(Answer(finish_reason="stop")) == ""
    assert "cut off" in ending_note(Answer(finish_reason="length"))
    assert ending_note(Answer(was_stopped=True)) == "(stopped)"
    assert speed_note(Answer(), 1.5) == "1.5 s"
