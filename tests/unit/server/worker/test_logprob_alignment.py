"""LogprobAlignment: entries are output with the text of their tokens, marked as content or not."""

from llamabind.chat.output_parser import MessageDelta, ToolCallDelta
from server.protocol.outputs import LogprobEntry
from server.worker.engines.logprob_alignment import LogprobAlignment

_CALL = MessageDelta(tool_call=ToolCallDelta(0, "1", "f", "{}"))


def _content(text: str) -> MessageDelta:
    return MessageDelta(content=text)


def _reasoning(text: str) -> MessageDelta:
    return MessageDelta(reasoning_content=text)


class Answer:
    """Drives an alignment with token pieces; returns them with "~" where they are not content."""

    def __init__(self) -> None:
        self._alignment = LogprobAlignment()

    def step(self, pieces: list[str | bytes], text: str, *deltas: MessageDelta) -> list[str]:
        """One step: sampled tokens, the text that the engine output, and the parser's deltas."""
        for piece in pieces:
            raw = piece.encode() if isinstance(piece, str) else piece
            self._alignment.put(LogprobEntry(0, raw, -1.0), raw)
        self._alignment.add_text(text)
        return _names(self._alignment.take(deltas))

    def rest(self, *, is_cut: bool) -> list[str]:
        return _names(self._alignment.take_rest(is_cut=is_cut))


def _names(entries: list[LogprobEntry]) -> list[str]:
    return [
        ("" if entry.is_content else "~") + entry.piece.decode(errors="replace")
        for entry in entries
    ]


def test_every_token_comes_with_its_text() -> None:
    answer = Answer()
    assert answer.step(["a"], "a", _content("a")) == ["a"]
    assert answer.step([" b", " c"], " b c", _content(" b c")) == [" b", " c"]
    assert answer.rest(is_cut=False) == []


def test_tokens_of_a_stop_string_are_dropped() -> None:
    answer = Answer()
    assert answer.step(["a", "#"], "a", _content("a")) == ["a"]
    assert answer.step(["b", "#"], "#b", _content("#b")) == ["#", "b"]
    # "##" was the stop string.
    assert answer.step(["#"], "") == []
    assert answer.rest(is_cut=True) == []


def test_a_token_that_a_stop_string_begins_in_is_output() -> None:
    answer = Answer()
    assert answer.step(["end#", "#"], "end", _content("end")) == ["end#"]
    assert answer.rest(is_cut=True) == []


def test_held_back_tokens_are_output_when_the_length_limit_ends_the_answer() -> None:
    answer = Answer()
    assert answer.step(["a", "#"], "a", _content("a")) == ["a"]
    assert answer.step(["#"], "##", _content("##")) == ["#", "#"]
    assert answer.step([b"\xf0\x9f"], "") == []
    assert answer.rest(is_cut=False) == ["~\ufffd"]


def test_the_tokens_of_one_character_are_output_together() -> None:
    answer = Answer()
    assert answer.step(["a", b"\xf0\x9f"], "a", _content("a")) == ["a"]
    parts = answer.step([b"\x98\x80"], "\U0001f600", _content("\U0001f600"))
    assert len(parts) == 2


def test_reasoning_and_tags_are_not_content() -> None:
    answer = Answer()
    assert answer.step(["<think>"], "<think>") == []
    assert answer.step(["hm"], "hm", _reasoning("hm")) == ["~<think>", "~hm"]
    assert answer.step(["</", "think>", "\n"], "</think>\n") == []
    assert answer.step(["hm"], "hm", _content("hm")) == ["~</", "~think>", "~\n", "hm"]


def test_one_step_may_end_reasoning_and_begin_content() -> None:
    answer = Answer()
    pieces: list[str | bytes] = ["hm", "</think>", "hm", " so"]
    deltas = [_reasoning("hm"), _content("hm so")]
    assert answer.step(pieces, "hm</think>hm so", *deltas) == ["~hm", "~</think>", "hm", " so"]


def test_a_token_with_the_end_of_a_tag_and_some_text_is_content() -> None:
    answer = Answer()
    assert answer.step(["</think", ">So"], "</think>So", _content("So")) == ["~</think", ">So"]


def test_tool_calls_are_not_content_and_the_text_before_them_is() -> None:
    answer = Answer()
    assert answer.step(["ok", "<call>"], "ok<call>", _content("ok"), _CALL) == ["ok", "~<call>"]
    assert answer.step(["{}"], "{}", _CALL) == ["~{}"]


def test_text_that_the_parser_corrected_is_content() -> None:
    answer = Answer()
    assert answer.step(["a ", "b"], "a b", _content("a  b")) == ["a ", "b"]


def test_text_that_the_parser_drops_at_the_end_is_not_content() -> None:
    answer = Answer()
    assert answer.step(["a", "\n"], "a\n", _content("a")) == ["a"]
    assert answer.rest(is_cut=False) == ["~\n"]
