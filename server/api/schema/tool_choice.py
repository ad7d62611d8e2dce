"""tool_choice: which tools a model may or must call, in OpenAI's forms."""

from collections.abc import Collection
from typing import Any, Final, Literal, TypeAlias

import msgspec

from server.api.schema.left_out import LeftOut
from server.api.schema.messages import FunctionName, Tool
from server.errors import InvalidRequestError

WireChoice: TypeAlias = str | dict[str, Any] | None
"""A tool_choice as the chat template gets it."""


class NamedFunction(msgspec.Struct, frozen=True):
    """The name of a function."""

    name: FunctionName


class NamedTool(msgspec.Struct, frozen=True):
    """One of the request's tools."""

    type: str | None = None
    function: NamedFunction | None = None
    custom: NamedFunction | None = None

    @property
    def name(self) -> str:
        """The tool's name, or the type of a tool that has none."""
        named = self.function or self.custom
        return named.name if named else self.type or ""


class AllowedChatTools(msgspec.Struct, frozen=True):
    """The tools that may, or with "required" must, be called; others are not in the prompt."""

    mode: Literal["auto", "required"]
    tools: list[NamedTool]


class ChosenTools(msgspec.Struct, frozen=True):
    """The function or custom tool that must be called, or the tools that are allowed, depending on
    `type`. The `name` beside the type is the form of other dialects; so are the types "auto",
    "none", "required", "any" (the same as "required") and "tool" (the same as "function").
    """

    type: str | None = None
    name: FunctionName | None = None
    function: NamedFunction | None = None
    custom: NamedFunction | None = None
    allowed_tools: AllowedChatTools | None = None


ToolChoice: TypeAlias = Literal["none", "auto", "required", "any"] | ChosenTools

MODES: Final = ("none", "auto", "required", "any")
"""The choices that name no tool; "any" is Anthropic's and Mistral's word for "required"."""


def choose(
    tools: list[Tool], choice: ToolChoice | None, left_out: LeftOut
) -> tuple[list[Tool], WireChoice]:
    """The tools for the prompt, and the choice. Raises InvalidRequestError."""
    match choice:
        case ChosenTools(
            type="allowed_tools", allowed_tools=AllowedChatTools(mode=mode, tools=named)
        ):
            param = "tool_choice.allowed_tools.tools"
            names = left_out.without([tool.name for tool in named], param, names_of(tools))
            return with_mode(only_allowed(tools, names, param), mode, left_out)
        case (
            ChosenTools(type="function" | None, function=NamedFunction(name=name))
            | ChosenTools(type="custom", custom=NamedFunction(name=name))
            | ChosenTools(type="function" | "custom" | "tool" | None, name=str(name))
        ):
            # A name that no tool of the request has is a 400, as in OpenAI and Anthropic: the
            # client asked for the guarantee of a call.
            if left_out.lacks_choice("tool_choice", name, names_of(tools)):
                return tools, None
            return tools, must_call(name)
        case ChosenTools(type="allowed_tools" | "function" | "custom" | "tool" | None):
            param = f"tool_choice.{choice.type or 'function'}"
            raise InvalidRequestError(f"field '{param}' is required", param=param)
        case ChosenTools(type=kind) if kind not in MODES:
            left_out.warn(no_function(str(kind)))
            return tools, None
        case ChosenTools(type=mode):
            return with_mode(tools, mode, left_out)
        case mode:
            return with_mode(tools, mode, left_out)


def with_mode(
    tools: list[Tool], mode: str | None, left_out: LeftOut
) -> tuple[list[Tool], WireChoice]:
    """The tools, and the choice of any of them; no choice if all tools were left out."""
    if mode == "any":
        mode = "required"
    if mode == "required" and left_out.lacks_all("tool_choice", len(tools)):
        return tools, None
    return tools, mode


def no_function(kind: str) -> str:
    """The warning about a tool_choice of type `kind`, a tool that runs on a vendor's servers."""
    return f"tool_choice is ignored: tools of type {kind!r} are left out of requests"


def names_of(tools: list[Tool]) -> set[str]:
    """The names of the functions in `tools`."""
    return {tool.function.name for tool in tools}


def must_call(name: str) -> WireChoice:
    """The choice that requires a call of one function."""
    return {"type": "function", "function": {"name": name}}


def only_allowed(tools: list[Tool], names: Collection[str], param: str) -> list[Tool]:
    """The tools with these names. Raises InvalidRequestError naming `param` for an unknown name."""
    known = names_of(tools)
    for name in names:
        if name not in known:
            raise InvalidRequestError(
                f"field '{param}': {name!r} is not one of the request's tools", param=param
            )
    return [tool for tool in tools if tool.function.name in names]
