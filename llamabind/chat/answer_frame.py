"""AnswerFrame: the text that a template's format puts around an answer with a JSON schema."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from llamabind.sampling.token_mask import MaskGrammar
from llamabind.schema.masks.lark import LarkWriter, Reasoning

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from llamabind.chat.template import RenderedPrompt


@dataclass(frozen=True, slots=True)
class AnswerFrame:
    """The texts before and after an answer, its reasoning, and how calls of tools begin.

    `json_call` is the schema of calls that are JSON without any text before it.
    """

    reasoning: Reasoning | None = None
    before: str = ""
    after: str = ""
    calls: tuple[str, ...] = ()
    json_call: Mapping[str, Any] | None = None

    def grammars(self, writer: LarkWriter, schema: Mapping[str, Any]) -> MaskGrammar:
        """Return the grammars of an answer that follows the schema, or calls a tool."""
        answer = writer.answer(
            schema, self.reasoning, before=self.before, after=self.after, call=self.json_call
        )
        call = writer.call(self.calls, self.reasoning) if self.calls else ""
        return MaskGrammar(answer, call, reasoning=self.reasoning)


# Formats that name the reader of each part of an answer, by a text in their templates.
_PARTED: Final = {
    "<|channel|>final": AnswerFrame(
        Reasoning("<|channel|>analysis<|message|>", "<|end|>", False, "<|start|>assistant"),
        before="<|channel|>final<|message|>",
        calls=(
            " to=functions",
            "<|channel|>commentary to=functions",
            "<|channel|>analysis to=functions",
        ),
    ),
    " to=self": AnswerFrame(
        Reasoning(" to=self<|message|>", "<|eom|>", False, "<|start|>assistant"),
        before=" to=user<|message|>",
        calls=(" to={name}",),
    ),
    ">>>all": AnswerFrame(before="all\n", calls=("{name}\n",)),
}


def frame_of(
    source: str, rendered: RenderedPrompt, tools: Sequence[Mapping[str, Any]] = ()
) -> AnswerFrame:
    """Return the frame of an answer to a rendered prompt; `tools` are those that may be called."""
    for text, frame in _PARTED.items():
        if text in source:
            names = [str(tool["function"]["name"]) for tool in tools]
            starts = [call.replace("{name}", name) for call in frame.calls for name in names]
            return replace(frame, calls=tuple(dict.fromkeys(starts)))
    words = [trigger.value for trigger in rendered.grammar_triggers if trigger.kind == "word"]
    frame = AnswerFrame(_reasoning(rendered), calls=tuple(words) if tools else ())
    for kind in ("TEXT", "RESPONSE"):  # Cohere's
        if f"<|START_{kind}|>" in source:
            return replace(frame, before=f"<|START_{kind}|>", after=f"<|END_{kind}|>")
    return frame


def _reasoning(rendered: RenderedPrompt) -> Reasoning | None:
    if not rendered.thinking_start_tag or not rendered.thinking_end_tags:
        return None
    start, end = rendered.thinking_start_tag, rendered.thinking_end_tags[0].strip()
    _, opened, inside = rendered.generation_prompt.rpartition(start)
    if opened and end in inside:
        return None
    return Reasoning(start, end, bool(opened))
