"""Which of its tools a model may or must call, in the forms of OpenAI's chats."""

from collections.abc import Collection
from typing import Any, Literal, TypeAlias

import msgspec

from server.api.schema.messages import FunctionName, Tool
from server.errors import InvalidRequestError

WireChoice: TypeAlias = str | dict[str, Any] | None
"""A choice as the chat template gets it."""


class NamedFunction(msgspec.Struct, frozen=True):
    """The name of a function."""

    name: FunctionName


class NamedTool(msgspec.Struct, frozen=True):
    """One of the request's tools."""

    function: NamedFunction
    type: Literal["function"] | None = None


class AllowedChatTools(msgspec.Struct, frozen=True):
    """The tools that may, or with "required" must be called now; the others are not shown."""

    mode: Literal["auto", "required"]
    tools: list[NamedTool]


class ChosenTools(msgspec.Struct, frozen=True):
    """The one function that must be called, or the tools that are allowed; `type` says which."""

    type: Literal["function", "allowed_tools"] | None = None
    function: NamedFunction | None = None
    allowed_tools: AllowedChatTools | None = None


ToolChoice: TypeAlias = Literal["none", "auto", "required"] | ChosenTools


def choose(tools: list[Tool], choice: ToolChoice | None) -> tuple[list[Tool], WireChoice]:
    """The tools that the model gets to see, and the choice. Raises InvalidRequestError."""
    if not isinstance(choice, ChosenTools):
        return tools, choice
    match choice:
        case ChosenTools(
            type="allowed_tools", allowed_tools=AllowedChatTools(mode=mode, tools=named)
        ):
            names = [tool.function.name for tool in named]
            return only_allowed(tools, names, "tool_choice.allowed_tools.tools"), mode
        case ChosenTools(type="function" | None, function=NamedFunction(name=name)):
            return tools, must_call(name)
        case _:
            pass
    param = f"tool_choice.{choice.type or 'function'}"
    raise InvalidRequestError(f"field '{param}' is required", param=param)


def must_call(name: str) -> WireChoice:
    """The choice of one function."""
    return {"type": "function", "function": {"name": name}}


def only_allowed(tools: list[Tool], names: Collection[str], param: str) -> list[Tool]:
    """The tools of these names. Raises InvalidRequestError naming `param` for one that is none."""
    known = {tool.function.name for tool in tools}
    for name in names:
        if name not in known:
            raise InvalidRequestError(
                f"field '{param}': {name!r} is none of the request's tools", param=param
            )
    return [tool for tool in tools if tool.function.name in names]
