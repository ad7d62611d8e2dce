"""AnswerMasks: from a request's JSON schema to the masks of its answer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from llamabind.chat.answer_frame import AnswerFrame, frame_of
from llamabind.errors import ChatTemplateError, GrammarError, InvalidParameterError
from llamabind.sampling.token_mask import MaskGrammar, TokenMasks
from llamabind.schema.masks.answer import answer_schemas
from llamabind.schema.masks.fit import fitted
from llamabind.schema.masks.lark import LarkWriter

if TYPE_CHECKING:
    from llamabind.chat.template import ChatTemplate, RenderedPrompt
    from llamabind.native.tokenizer import Tokenizer
    from llamabind.sampling.params import SamplingParams

Tools = Sequence[Mapping[str, Any]]

_OPTIONAL_CALLS: Final = (None, "auto")


@dataclass(frozen=True, slots=True)
class AnswerSchema:
    """The JSON schema of an answer; with `is_lenient`, what cannot be enforced is dropped."""

    schema: Mapping[str, Any]
    is_lenient: bool

    @classmethod
    def of(cls, options: Mapping[str, Any], params: SamplingParams | None) -> AnswerSchema | None:
        """Return the schema in a request's options, None if there is none."""
        schema = options.get("json_schema")
        if schema is None:
            return None
        if not isinstance(schema, Mapping):
            raise InvalidParameterError("json_schema", "a JSON schema must be an object")
        if params is not None and params.grammar:
            raise InvalidParameterError("grammar", "cannot be used together with json_schema")
        return cls(schema, bool(options.get("lenient_schema")))

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is not enforced. Raises InvalidParameterError as `answer_schemas` does."""
        _, warnings = next(answer_schemas(self.schema, "json_schema", is_lenient=self.is_lenient))
        return tuple(map(str, warnings))


class AnswerMasks:
    """Makes the masks of answers for one vocabulary. Any thread."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._writer: LarkWriter | None = None

    def of_text(self, schema: AnswerSchema) -> tuple[MaskGrammar, tuple[str, ...]]:
        """Return the mask of an answer that continues a text, and warnings."""
        return self._first_that_fits(schema, AnswerFrame())

    def of_chat(
        self,
        schema: AnswerSchema,
        template: ChatTemplate,
        rendered: RenderedPrompt,
        tools: Tools,
        begun: str = "",
    ) -> tuple[MaskGrammar, tuple[str, ...]]:
        """Return the mask of a chat's answer, and warnings.

        `tools` are those that the answer may call instead; `begun` is the part of the answer that
        the prompt already has.
        """
        frame = frame_of(template.source, rendered, tools)
        if begun:
            frame = AnswerFrame()
        elif frame.reasoning and not frame.reasoning.is_open:
            text = f"{frame.reasoning.start}x{frame.reasoning.end}{frame.reasoning.between}"
            if _parsed(template, rendered, f"{text}{frame.before}{{}}{frame.after}") != "{}":
                frame = replace(frame, reasoning=None)  # the parser would take it for content
        if tools and not rendered.grammar and not frame.calls:
            frame = replace(frame, json_call=_json_call(template, rendered, tools))
        mask, warnings = self._first_that_fits(schema, frame)
        return replace(mask, begun=self._begun_tokens(mask, begun)), warnings

    def _first_that_fits(
        self, schema: AnswerSchema, frame: AnswerFrame
    ) -> tuple[MaskGrammar, tuple[str, ...]]:
        if self._writer is None:
            self._writer = LarkWriter(self._tokenizer)
        failure: GrammarError | None = None
        is_lenient = schema.is_lenient
        for node, warnings in answer_schemas(schema.schema, "json_schema", is_lenient=is_lenient):
            mask = frame.grammars(self._writer, node)
            try:
                TokenMasks.of(self._tokenizer).start(mask)
            except GrammarError as error:
                failure = error
            else:
                return mask, tuple(map(str, warnings))
        raise failure or GrammarError("the schema cannot be enforced")

    def _begun_tokens(self, mask: MaskGrammar, begun: str) -> tuple[int, ...]:
        """Return the tokens of the part of an answer that the schema allows; none if it is other
        text, after which the answer begins.
        """
        tokens = self._tokenizer.encode(begun, add_special=False) if begun else []
        sequence = TokenMasks.of(self._tokenizer).start(mask)
        return tuple(tokens) if all(sequence.accept(token) for token in tokens) else ()


def callable_tools(options: Mapping[str, Any]) -> Tools:
    """Return the tools that an answer may call, by a request's template options."""
    return () if options.get("tool_choice") == "none" else options.get("tools") or ()


def must_call(options: Mapping[str, Any]) -> bool:
    """Return whether the answer has to be a call, to which the schema of a text does not apply."""
    return bool(callable_tools(options)) and options.get("tool_choice") not in _OPTIONAL_CALLS


def begun_answer(messages: Sequence[Mapping[str, Any]], options: Mapping[str, Any]) -> str:
    """Return the text of the last message that the answer continues, if any."""
    content = messages[-1].get("content") if options.get("continue_final_message") else None
    return content if isinstance(content, str) else ""


def _json_call(
    template: ChatTemplate, rendered: RenderedPrompt, tools: Tools
) -> Mapping[str, Any] | None:
    """Return the schema of a call where calls are JSON, as Llama 3 writes them; None elsewhere."""
    functions = [tool["function"] for tool in tools]
    call = json.dumps({"name": functions[0]["name"], "parameters": {}})
    if _parsed(template, rendered, call) == call:
        return None
    calls = []
    for index, function in enumerate(functions):
        parameters = function.get("parameters") or {}
        arguments, _ = fitted(parameters, f"tools[{index}].function.parameters")
        definitions = arguments.pop("$defs", {})
        members = {"name": {"const": function["name"]}, "parameters": arguments}
        calls.append((members, definitions))
    return {
        "anyOf": [
            {
                "type": "object",
                "properties": _renamed(members, f"t{index}"),
                "required": ["name", "parameters"],
                "additionalProperties": False,
            }
            for index, (members, _) in enumerate(calls)
        ],
        "$defs": {
            f"t{index}{name}": _renamed(definition, f"t{index}")
            for index, (_, definitions) in enumerate(calls)
            for name, definition in definitions.items()
        },
    }


def _renamed(value: Any, prefix: str) -> Any:
    """Return a schema whose references name definitions with a prefix."""
    if isinstance(value, list):
        return [_renamed(item, prefix) for item in value]
    if not isinstance(value, Mapping):
        return value
    return {
        key: item.replace("#/$defs/", f"#/$defs/{prefix}")
        if key == "$ref" and isinstance(item, str)
        else _renamed(item, prefix)
        for key, item in value.items()
    }


def _parsed(template: ChatTemplate, rendered: RenderedPrompt, text: str) -> str:
    """Return the content that the template's parser finds in an answer."""
    try:
        with template.parser(rendered) as parser:
            return parser.parse(text).content.strip()
    except ChatTemplateError:
        return ""
