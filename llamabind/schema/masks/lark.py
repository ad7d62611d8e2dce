"""Lark grammars, as llguidance reads them, of answers that follow a JSON schema."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from llamabind.schema.masks.compiler import WHITESPACE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from llamabind.native.tokenizer import Tokenizer

_OPTIONS: Final = {
    "whitespace_pattern": WHITESPACE,
    "json_allow_general_unicode_escapes": True,
}
# The model chooses among all tokens that fit, not only those that the tokenizer would.
_HEAD: Final = '%llguidance {"no_forcing": true}\n'
_TAIL: Final = "WS: /[ \\t\\n]{1,4}/\nTEXT: /(?s:.+)/\n"


@dataclass(frozen=True, slots=True)
class Reasoning:
    """The tags of a model's reasoning; `is_open` if the prompt ends inside it.

    With `between` there may be several parts, each followed by this text.
    """

    start: str
    end: str
    is_open: bool
    between: str = ""


class LarkWriter:
    """Writes grammars for one vocabulary, in which control tokens are not text."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        texts = sorted(tokenizer.control_texts, key=len, reverse=True)
        # Vocabularies that put a space before each text also begin an answer with it.
        [first, *_] = tokenizer.encode("{", add_special=False)
        self._lead = '" "? ' if tokenizer.piece(first).startswith(b" ") else ""
        self._split = re.compile("|".join(map(re.escape, texts)) or r"(?!)")

    def answer(
        self,
        schema: Mapping[str, Any],
        reasoning: Reasoning | None = None,
        *,
        before: str = "",
        after: str = "",
        call: Mapping[str, Any] | None = None,
    ) -> str:
        """Return the grammar of an answer: reasoning, `before`, JSON, and maybe `after`.

        `call` is the schema of a tool call that may be written in its place.
        """
        end = f"({self.text(after)})?" if after else ""
        body = f"{self.text(before)} answer {end}"
        rules = f"answer: {_json(schema)}\n"
        if call is not None:
            body, rules = f"({body} | call)", f"{rules}call: {_json(call)}\n"
        return self._whole(reasoning, body) + rules

    def call(self, triggers: Iterable[str], reasoning: Reasoning | None = None) -> str:
        """Return the grammar of an answer that begins with one of the texts that start a call."""
        starts = " | ".join(f"({self.text(trigger)})" for trigger in triggers)
        rules = self._whole(reasoning, "call")
        return rules + f"call: ({starts}) rest\nrest: (TEXT | <[*]>)*\n"

    def text(self, text: str) -> str:
        """Return the rule for a text, with control tokens by their ids."""
        parts = []
        position = 0
        for match in self._split.finditer(text):
            parts += _quoted(text[position : match.start()])
            tokens = self._tokenizer.encode(match[0], add_special=False, parse_special=True)
            parts += [f"<[{token}]>" for token in tokens]
            position = match.end()
        return " ".join([*parts, *_quoted(text[position:])])

    def _whole(self, reasoning: Reasoning | None, body: str) -> str:
        if reasoning is None:
            return f"{_HEAD}start: {self._lead}{body}\n{_TAIL}"
        reasoning_text = self._until(reasoning.end)
        start, between = self.text(reasoning.start), self.text(reasoning.between)
        if reasoning.is_open:
            begin = (
                f"WS? {reasoning_text} {between}"
                + f" ({start} {reasoning_text} {between})*" * bool(between)
            )
            begin += " WS?"
        else:
            begin = f"(WS? {start} {reasoning_text} {between} WS?){'*' if between else '?'}"
        return f"{_HEAD}start: {self._lead}{begin} {body}\n{_TAIL}{self._body(reasoning.end)}"

    def _until(self, end: str) -> str:
        first = self._split.match(end)
        return f"TEXT? {self.text(end)}" if first else "reasoning" + self._behind_text(end)

    def _behind_text(self, end: str) -> str:
        match = self._split.search(end)
        return f" {self.text(end[match.start() :])}" if match else ""

    def _body(self, end: str) -> str:
        match = self._split.search(end)
        text = end[: match.start()] if match else end
        if not text:
            return ""
        return f"reasoning[suffix={json.dumps(text, ensure_ascii=False)}]: /(?s:.*)/\n"


def _json(schema: Mapping[str, Any]) -> str:
    return "%json " + json.dumps({**schema, "x-guidance": _OPTIONS}, ensure_ascii=False)


def _quoted(text: str) -> list[str]:
    return [json.dumps(text, ensure_ascii=False)] if text else []
