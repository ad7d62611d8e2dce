"""Calls of tools and their results among the items of a Responses conversation."""

from collections.abc import Callable
from functools import partial
from typing import Any, Final, NamedTuple

import msgspec

from server.api.responses.schema import InputItem, OutputPart
from server.api.schema.call_arguments import wire_arguments
from server.api.schema.content import joined, readable
from server.api.schema.left_out import LeftOut
from server.api.schema.offered_tools import OfferedTools, input_arguments

_CALLS: Final = {
    "function_call",
    "custom_tool_call",
    "local_shell_call",
    "shell_call",
    "apply_patch_call",
    "computer_call",
    "tool_search_call",
    "program",
}
_RESULTS: Final = {
    "function_call_output",
    "custom_tool_call_output",
    "local_shell_call_output",
    "shell_call_output",
    "apply_patch_call_output",
    "computer_call_output",
    "tool_search_output",
    "program_output",
}
# Items that hold both a call and its result.
_CALLS_WITH_RESULTS: Final = {"mcp_call", "code_interpreter_call", "file_search_call"}


class Call(NamedTuple):
    """A call in the form of a function's: `arguments` is JSON text."""

    name: str
    arguments: str


def is_call(item: InputItem) -> bool:
    """Whether the item calls a tool."""
    return item.type in _CALLS or item.type in _CALLS_WITH_RESULTS


def is_result(item: InputItem) -> bool:
    """Whether the item is the result of an earlier call."""
    return item.type in _RESULTS


def has_result(item: InputItem) -> bool:
    """Whether the item, a call, holds its result."""
    return item.type in _CALLS_WITH_RESULTS


def call_of(item: InputItem, path: str, offered: OfferedTools, left_out: LeftOut) -> Call | None:
    """The call of an item; None if it is left out, since it has no name."""
    if item.type in ("function_call", "mcp_call", "custom_tool_call"):
        if not item.name:
            left_out.add_part(path, item.type, "it has no name")
            return None
        name = offered.wire_name(item.name, item.namespace)
        if item.type == "custom_tool_call":
            return Call(name, input_arguments(item.input or ""))
        return Call(name, wire_arguments(item.arguments, path, left_out))
    if item.type == "tool_search_call":
        return Call("tool_search", wire_arguments(item.arguments, path, left_out))
    name, arguments = _NAMED[item.type or ""]
    return Call(name, _json(arguments(item)))


# The tools of OpenAI's own whose calls have other fields than a name and arguments.
_NAMED: Final[dict[str, tuple[str, Callable[[InputItem], dict[str, Any]]]]] = {
    "local_shell_call": ("local_shell", lambda item: _without_type(item.action)),
    "shell_call": ("shell", lambda item: _without_type(item.action)),
    "apply_patch_call": ("apply_patch", lambda item: item.operation or {}),
    "computer_call": ("computer", lambda item: item.action or {"actions": item.actions or []}),
    "code_interpreter_call": ("code_interpreter", lambda item: {"code": item.code or ""}),
    "file_search_call": ("file_search", lambda item: {"queries": item.queries or []}),
    "program": ("program", lambda item: {"code": item.code or ""}),
}


def result_of(item: InputItem, path: str, left_out: LeftOut) -> str | list[dict[str, Any]]:
    """The result in an item: a text, or with images a list of parts."""
    if (text_of := _TEXTS.get(item.type or "")) is not None:
        return text_of(item)
    output = item.output
    if output is None:
        if item.type == "apply_patch_call_output":
            return item.status or ""
        left_out.note(path, "the result of a call is empty: it has no output")
        return ""
    if isinstance(output, str):
        return output
    if isinstance(output, dict):
        output = [_screenshot(output)]
    parts = [_part(part, f"{path}.output[{index}]", left_out) for index, part in enumerate(output)]
    return joined([part for part in parts if part is not None])


def _mcp_text(item: InputItem) -> str:
    failure = "" if item.error is None else _text(item.error)
    return "\n".join(filter(None, (_text(item.output or ""), failure)))


# The texts of results that are in other fields than `output`.
_TEXTS: Final[dict[str, Callable[[InputItem], str]]] = {
    "tool_search_output": lambda item: "\n".join(tool.name or "" for tool in item.tools or ()),
    "program_output": lambda item: item.result or "",
    "code_interpreter_call": lambda item: "\n".join(
        str(one.get("logs") or "") for one in item.outputs or ()
    ),
    "file_search_call": lambda item: "\n".join(map(_found, item.results or ())),
    "mcp_call": _mcp_text,
}


def _part(part: OutputPart, path: str, left_out: LeftOut) -> dict[str, Any] | None:
    if part.stdout is not None or part.stderr is not None:
        text = "\n".join(filter(None, (part.stdout, part.stderr)))
        return {"type": "text", "text": text}
    return readable(path, left_out, partial(part.to_wire, path, left_out))


def _screenshot(output: dict[str, Any]) -> OutputPart:
    """The part of a computer's screenshot, or of an object that is no part as JSON."""
    url = output.get("image_url")
    if output.get("type") in ("computer_screenshot", "input_image"):
        return OutputPart(type="input_image", image_url=url if isinstance(url, str) else None)
    return OutputPart(type="text", text=_json(output))


def _found(result: dict[str, Any]) -> str:
    name = result.get("filename")
    text = str(result.get("text") or "")
    return f"{name}:\n{text}" if name else text


def _without_type(action: dict[str, Any] | None) -> dict[str, Any]:
    return {key: value for key, value in (action or {}).items() if key != "type" and value}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else _json(value)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
