"""Which formats of a chat template's answers take every text as content; pure Python."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAX_DEPTH = 100

Part = dict[str, Any]


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


def _leaves(parsers: list[Part], index: int, depth: int = 0) -> Iterator[Part]:
    """Yield the parts of a sequence of sequences, in order."""
    part = parsers[index]
    if part["type"] != "sequence" or depth > _MAX_DEPTH:
        yield part
        return
    for child in part["children"]:
        yield from _leaves(parsers, child, depth + 1)
