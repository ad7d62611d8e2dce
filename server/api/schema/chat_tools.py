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

    Tools of other types are left out.
    """

    type: str | None = None
    function: FunctionDefinition | None = None
    name: str | None = None
    custom: CustomDefinition | None = None


def offered_tools(entries: "list[ToolEntry] | None", left_out: LeftOut) -> OfferedTools:
    """The functions and custom tools; others are added to `left_out`.

    Raises InvalidRequestError.
    """
    offered = OfferedTools(left_out)
    for index, entry in enumerate(entries or ()):
        path = f"tools[{index}]"
        kind = entry.type or "function"
        if kind not in ("function", "custom"):
            left_out.add(path, kind, entry.name)
            continue
        definition: Any = getattr(entry, kind)
        if definition is None and kind == "custom" and entry.name:
            definition = CustomDefinition(entry.name)  # the form of the Responses API
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
