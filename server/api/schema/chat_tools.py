"""The tools of a chat request in OpenAI's form."""

from typing import Any

import msgspec

from server.api.schema.left_out import LeftOut
from server.api.schema.messages import FunctionDefinition, FunctionName
from server.api.schema.offered_tools import InputFormat, OfferedTools
from server.errors import InvalidRequestError


class CustomDefinition(msgspec.Struct, frozen=True):
    """A custom tool: the model calls it with a text."""

    name: FunctionName
    description: str | None = None
    format: InputFormat | None = None


class ToolEntry(msgspec.Struct, frozen=True):
    """A tool of the request: a function, or with type "custom" a custom tool.

    Tools of other types are left out. A function may also have the form of the Responses API, with
    its fields beside `type`, or Anthropic's, with `input_schema`: some agents send their tools in
    one form to every API.
    """

    type: str | None = None
    function: FunctionDefinition | None = None
    name: FunctionName | None = None
    description: str | None = None
    parameters: dict[str, Any] | None = None
    input_schema: dict[str, Any] | None = None
    strict: bool | None = None
    custom: CustomDefinition | None = None


def offered_tools(entries: "list[ToolEntry] | None", left_out: LeftOut) -> OfferedTools:
    """The functions and custom tools; others are added to `left_out`.

    Raises InvalidRequestError.
    """
    offered = OfferedTools(left_out)
    for index, entry in enumerate(entries or ()):
        path = f"tools[{index}]"
        kind = entry.type or "function"
        if kind == "custom" and entry.input_schema is not None:
            kind = "function"  # Anthropic's word for it
        if kind not in ("function", "custom"):
            left_out.add(path, kind, entry.name)
            continue
        definition: Any = getattr(entry, kind)
        if definition is None and entry.name:
            definition = _of_other_form(entry, kind, entry.name)
        if definition is None:
            param = f"{path}.{kind}"
            raise InvalidRequestError(f"field '{param}' is required", param=param)
        if kind == "function":
            offered.add_function(path, definition)
        else:
            offered.add_custom(
                f"{path}.custom", definition.name, definition.description, definition.format
            )
    return offered


def _of_other_form(entry: ToolEntry, kind: str, name: str) -> FunctionDefinition | CustomDefinition:
    if kind == "custom":
        return CustomDefinition(name, entry.description)
    schema = entry.input_schema if entry.parameters is None else entry.parameters
    return FunctionDefinition(name, entry.description, schema, entry.strict)
