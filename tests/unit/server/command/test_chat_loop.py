"""A chat over a scripted transport: messages, answers, Ctrl-C, errors."""

from __future__ import annotations

import json
from collections.abc import Generator
from typing import Any

import pytest

from server.command.client.errors import NoServerError, RefusedError
from server.command.talk.prompt import MORE, Prompt
from tests.support.terminal_chat import (
    CTRL_C,
    USAGE,
    Transport,
    lines,
    sent,
    talk,
)


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


def test_bye_leaves():
    transport = Transport()
    for word in ("/bye", "/exit", "/quit"):
        assert talk(transport, word, "never read")[0] == 0
    assert transport.requests == []
