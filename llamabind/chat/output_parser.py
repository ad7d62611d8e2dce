"""OutputParser: an answer as a message, reasoning and tool calls taken out of the text."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from llamabind._capi import shim
from llamabind._capi.shim import ParserHandle, TextHandle
from llamabind._capi.shim_text import last_error, take_text
from llamabind.errors import ChatTemplateError
from llamabind.native.handle import Handle

_MAX_DEPTH: Final = 100

Part = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that the model made; `arguments` is JSON as the model wrote it, maybe cut off."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ParsedMessage:
    """An assistant's message.

    `is_fallback` says that the text did not fit the template's format: all of it is `content`, or
    in a stream, the message is what was told before it stopped fitting.
    """

    content: str
    reasoning_content: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    is_fallback: bool = False


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """News of the tool call `index`: id and name the first time, then pieces of arguments."""

    index: int
    id: str | None
    name: str | None
    arguments: str


@dataclass(frozen=True, slots=True)
class MessageDelta:
    """What is new in a message: exactly one of the three is set."""

    content: str | None = None
    reasoning_content: str | None = None
    tool_call: ToolCallDelta | None = None


class OutputParser(Handle[ParserHandle]):
    """Parses one answer in the format of the prompt it answers (lb_parser of csrc/llamabind.h).

    Made by ChatTemplate.parser. One thread at a time. Text that does not fit the format is no
    error: see ParsedMessage.is_fallback. A stream whose format has content only is not parsed at
    all: a parse reads the whole answer again, for each token.
    """

    def __init__(self, spec: str = "") -> None:
        """`spec` is RenderedPrompt.parser_spec; "" takes all text as content."""
        handle = shim.lb_parser_init(spec.encode())
        if not handle:
            raise ChatTemplateError(last_error())
        super().__init__(handle)
        self._plain: list[str] | None = [] if is_plain(spec) else None

    def parse(self, text: str, *, partial: bool = False) -> ParsedMessage:
        """Parse the whole answer so far; does not change the parser.

        With `partial` the text may end anywhere, also within a tag or in a tool call's JSON.
        """
        data = text.encode(errors="replace")
        return _message(_take(shim.lb_parser_parse(self.ptr, data, len(data), partial)))

    def feed(self, text: str, *, final: bool = False) -> tuple[MessageDelta, ...]:
        """Add a piece of the answer and return what is new; the deltas add up to `message`.

        Give `final` with the last piece (which may be empty): it ends what could have gone on.
        """
        data = text.encode(errors="replace")
        if self._plain is not None:
            _ = self.ptr  # closed is closed
            self._plain.append(data.decode())
            return (MessageDelta(content=self._plain[-1]),) if text else ()
        news = _take(shim.lb_parser_feed(self.ptr, data, len(data), final))
        return tuple(_delta(item) for item in news["deltas"])

    @property
    def message(self) -> ParsedMessage:
        """The message as fed so far."""
        if self._plain is not None:
            return ParsedMessage("".join(self._plain))
        return _message(_take(shim.lb_parser_message(self.ptr)))

    def _free(self, handle: ParserHandle) -> None:
        shim.lb_parser_free(handle)


def is_plain(spec: str) -> bool:
    """Tell whether the parser of `spec` (RenderedPrompt.parser_spec) takes any answer for content.

    Its grammar (common_peg_arena of llama.cpp's common/peg-parser.h) is then the generation prompt,
    which is put before the answer, and all that follows: no thoughts, no calls. An answer that
    continues a text of the client's is none of these, since it begins within a message.
    """
    if not spec:
        return True
    fields = json.loads(spec)
    if fields.get("is_continuation") or not fields.get("parser"):
        return False
    arena = json.loads(fields["parser"])
    parsers: list[Part] = arena["parsers"]
    leaves = [leaf for leaf in _leaves(parsers, arena["root"]) if leaf["type"] != "epsilon"]
    kinds = [leaf["type"] for leaf in leaves]
    if kinds != ["literal"] * (len(kinds) - 2) + ["tag", "end"]:
        return False
    *literals, content, _ = leaves
    said = parsers[content["child"]]
    return (
        "".join(literal["literal"] for literal in literals) == fields.get("generation_prompt", "")
        and content["tag"] == "content"
        and said["type"] == "until"
        and not said["delimiters"]
    )


def _take(text: TextHandle | None) -> dict[str, Any]:
    if not text:
        raise ChatTemplateError(last_error())
    result: dict[str, Any] = json.loads(take_text(text))
    return result


def _message(fields: dict[str, Any]) -> ParsedMessage:
    return ParsedMessage(
        content=fields["content"],
        reasoning_content=fields["reasoning_content"],
        tool_calls=tuple(
            ToolCall(call["id"], call["name"], call["arguments"]) for call in fields["tool_calls"]
        ),
        is_fallback=fields["is_fallback"],
    )


def _delta(fields: dict[str, Any]) -> MessageDelta:
    call = fields.get("tool_call")
    return MessageDelta(
        content=fields.get("content"),
        reasoning_content=fields.get("reasoning_content"),
        tool_call=call
        and ToolCallDelta(call["index"], call.get("id"), call.get("name"), call["arguments"]),
    )


def _leaves(parsers: list[Part], index: int, depth: int = 0) -> Iterator[Part]:
    """Yield the parts of a sequence of sequences, in order."""
    part = parsers[index]
    if part["type"] != "sequence" or depth > _MAX_DEPTH:
        yield part
        return
    for child in part["children"]:
        yield from _leaves(parsers, child, depth + 1)
