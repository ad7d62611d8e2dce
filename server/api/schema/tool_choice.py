"""Which of its tools a model may or must call, in the forms of OpenAI's chats."""

from collections.abc import Collection
from typing import Any, Literal, TypeAlias

import msgspec

from server.api.schema.left_out import LeftOut
from server.api.schema.messages import FunctionName, Tool
from server.errors import InvalidRequestError

WireChoice: TypeAlias = str | dict[str, Any] | None
"""A choice as the chat template gets it."""


class NamedFunction(msgspec.Struct, frozen=True):
    """The name of a function."""

    name: FunctionName


class NamedTool(msgspec.Struct, frozen=True):
    """One of the request's tools."""

    type: str | None = None
    function: NamedFunction | None = None

    @property
    def name(self) -> str:
        """The function's name, or the type of another tool."""
        return self.function.name if self.function else self.type or ""


class AllowedChatTools(msgspec.Struct, frozen=True):
    """The tools that may, or with "required" must be called now; the others are not shown."""

    mode: Literal["auto", "required"]
    tools: list[NamedTool]


class ChosenTools(msgspec.Struct, frozen=True):
    """The one function that must be called, or the tools that are allowed; `type` says which."""

    type: str | None = None
    function: NamedFunction | None = None
    allowed_tools: AllowedChatTools | None = None


ToolChoice: TypeAlias = Literal["none", "auto", "required"] | ChosenTools


def choose(
    tools: list[Tool], choice: ToolChoice | None, left_out: LeftOut
) -> tuple[list[Tool], WireChoice]:
    """The tools that the model gets to see, and the choice. Raises InvalidRequestError."""
    match choice:
        case ChosenTools(
            type="allowed_tools", allowed_tools=AllowedChatTools(mode=mode, tools=named)
        ):
            param = "tool_choice.allowed_tools.tools"
            names = left_out.without([tool.name for tool in named], param, names_of(tools))
            return with_mode(only_allowed(tools, names, param), mode, left_out)
        case ChosenTools(type="function" | None, function=NamedFunction(name=name)):
            left_out.check_choice("tool_choice.function.name", name, names_of(tools))
            return tools, must_call(name)
        case ChosenTools(type="allowed_tools" | "function" | None):
            param = f"tool_choice.{choice.type or 'function'}"
            raise InvalidRequestError(f"field '{param}' is required", param=param)
        case ChosenTools(type=kind):
            raise no_function("tool_choice.type", str(kind))
        case mode:
            return with_mode(tools, mode, left_out)


def with_mode(
    tools: list[Tool], mode: str | None, left_out: LeftOut
) -> tuple[list[Tool], WireChoice]:
    """The tools and the choice of any of them; without any left a request is one without tools."""
    if mode == "required":
        left_out.check_required("tool_choice", len(tools))
    return tools, mode


def no_function(param: str, kind: str) -> InvalidRequestError:
    """The error for a choice of a tool of another kind."""
    return InvalidRequestError(
        f"field '{param}': {kind!r} tools are left out of requests; only a function can be chosen",
        param=param,
    )


def names_of(tools: list[Tool]) -> set[str]:
    """The names of the functions."""
    return {tool.function.name for tool in tools}


def must_call(name: str) -> WireChoice:
    """The choice of one function."""
    return {"type": "function", "function": {"name": name}}


def only_allowed(tools: list[Tool], names: Collection[str], param: str) -> list[Tool]:
    """The tools of these names. Raises InvalidRequestError naming `param` for one that is none."""
    known = names_of(tools)
    for name in names:
        if name not in known:
            raise InvalidRequestError(
                f"field '{param}': {name!r} is none of the request's tools", param=param
            )
    return [tool for tool in tools if tool.function.name in names]
