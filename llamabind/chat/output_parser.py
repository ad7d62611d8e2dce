"""OutputParser: splits the text of an answer into content, reasoning and tool calls."""

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
    """A tool call; `arguments` is JSON as the model wrote it, possibly truncated."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ParsedMessage:
    """An assistant's message.

    `is_fallback` means that the text did not match the template's format: all of it is `content`,
    or, if it was fed in pieces, the message is what feed() returned before the mismatch.
    """

    content: str
    reasoning_content: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    is_fallback: bool = False


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """New parts of the tool call `index`: first id and name, then pieces of the arguments."""

    index: int
    id: str | None
    name: str | None
    arguments: str


@dataclass(frozen=True, slots=True)
class MessageDelta:
    """A new part of a message: exactly one of the three fields is set."""

    content: str | None = None
    reasoning_content: str | None = None
    tool_call: ToolCallDelta | None = None


class OutputParser(Handle[ParserHandle]):
    """Parses one answer in the format of the prompt it answers (lb_parser of csrc/llamabind.h).

    Made by ChatTemplate.parser. One thread at a time. Text that does not match the format raises
    no error: see ParsedMessage.is_fallback. In a format that has only content, feed() passes the
    text through without parsing: each parse reads the whole answer again, once per token.
    """

    def __init__(self, spec: str = "") -> None:
        """`spec` is RenderedPrompt.parser_spec; with "" all text is content."""
        handle = shim.lb_parser_init(spec.encode())
        if not handle:
            raise ChatTemplateError(last_error())
        super().__init__(handle)
        self._plain: list[str] | None = [] if is_plain(spec) else None
        self.is_plain = self._plain is not None
        """Whether all text is content, so that feed() changes nothing."""

    def parse(self, text: str, *, partial: bool = False) -> ParsedMessage:
        """Parse `text`, the answer from its start; does not change the state of feed().

        With `partial` the text may end anywhere, even inside a tag or a tool call's JSON.
        """
        data = text.encode(errors="replace")
        return _message(_take(shim.lb_parser_parse(self.ptr, data, len(data), partial)))

    def feed(self, text: str, *, final: bool = False) -> tuple[MessageDelta, ...]:
        """Add a piece of the answer and return what is new; the deltas add up to `message`.

        Set `final` with the last piece (which may be empty), so that text held back as a possible
        beginning of a tag is returned.
        """
        data = text.encode(errors="replace")
        if self._plain is not None:
            _ = self.ptr  # raises if closed
            self._plain.append(data.decode())
            return (MessageDelta(content=self._plain[-1]),) if text else ()
        result = _take(shim.lb_parser_feed(self.ptr, data, len(data), final))
        return tuple(_delta(item) for item in result["deltas"])

    @property
    def message(self) -> ParsedMessage:
        """The message up to the last fed piece."""
        if self._plain is not None:
            return ParsedMessage("".join(self._plain))
        return _message(_take(shim.lb_parser_message(self.ptr)))

    def _free(self, handle: ParserHandle) -> None:
        shim.lb_parser_free(handle)


def is_plain(spec: str) -> bool:
    """Return whether the parser of `spec` (RenderedPrompt.parser_spec) takes any text as content.

    Its grammar (common_peg_arena of llama.cpp's common/peg-parser.h) is then the generation prompt,
    which is put before the answer, followed by any text: no reasoning, no tool calls. False for an
    answer that continues a message of the client, since it begins in the middle of a message.
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
    text = parsers[content["child"]]
    return (
        "".join(literal["literal"] for literal in literals) == fields.get("generation_prompt", "")
        and content["tag"] == "content"
        and text["type"] == "until"
        and not text["delimiters"]
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
    """Yield the parts of nested sequences, in order."""
    part = parsers[index]
    if part["type"] != "sequence" or depth > _MAX_DEPTH:
        yield part
        return
    for child in part["children"]:
        yield from _leaves(parsers, child, depth + 1)
