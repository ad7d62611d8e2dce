"""Messages and tools of a conversation in OpenAI's form."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from server.api.schema.content import ContentPart, text_only, wire_content
from server.api.schema.left_out import LeftOut
from server.errors import InvalidRequestError

Role = Literal["system", "developer", "user", "assistant", "tool", "function"]
FunctionName = Annotated[str, Meta(min_length=1, max_length=256)]
INPUT = "input"
"""The only argument of the function that stands for a custom tool."""


class FunctionCall(msgspec.Struct, frozen=True):
    """A called function; `arguments` is a JSON object, or a string that contains one."""

    name: FunctionName
    arguments: str | dict[str, Any] | None = None


class CustomCall(msgspec.Struct, frozen=True):
    """A called custom tool with its text."""

    name: FunctionName
    input: str | None = None


class ToolCall(msgspec.Struct, frozen=True):
    """A call that the assistant made earlier in the conversation, of a function or with type
    "custom" of a custom tool. A call of neither is left out with a warning.
    """

    function: FunctionCall | None = None
    id: str | None = None
    type: str | None = None
    custom: CustomCall | None = None


class ChatMessage(msgspec.Struct, frozen=True, omit_defaults=True):
    """One message of a conversation. A `content` that is null is an empty text.

    Role "function" with its `name`, and `function_call` of the assistant, are OpenAI's predecessors
    of tools.
    """

    role: Role
    content: str | list[ContentPart] | None = None
    name: str | None = None
    reasoning_content: str | None = None
    tool_call_id: str | None = None
    tool_calls: list[ToolCall] | None = None
    function_call: FunctionCall | None = None
    refusal: str | None = None

    def to_wire(
        self, path: str, left_out: LeftOut, parts: list[dict[str, Any]] | None = None
    ) -> dict[str, Any]:
        """The message as the chat template gets it. Raises InvalidRequestError naming `path`.

        `parts`, if given, replace the content: other dialects have their own form of images.
        """
        if self.tool_calls and self.role != "assistant":
            param = f"{path}.tool_calls"
            raise InvalidRequestError(
                f"field '{param}': only assistant messages may have tool calls", param=param
            )
        # "developer" is OpenAI's newer name for "system"; chat templates know only the latter.
        roles = {"developer": "system", "function": "tool"}
        may_leave_out = self.role in ("tool", "function", "assistant")
        content = parts or wire_content(
            self.content, f"{path}.content", left_out, may_leave_out=may_leave_out
        )
        if self.role == "assistant":
            content = text_only(content, f"{path}.content", left_out) or self.refusal or ""
        wire: dict[str, Any] = {"role": roles.get(self.role, self.role), "content": content}
        calls = self._calls(path, left_out)
        if calls:
            wire["tool_calls"] = calls
            wire["content"] = content or None
        for name in ("name", "reasoning_content", "tool_call_id"):
            if (value := getattr(self, name)) is not None:
                wire[name] = value
        return wire

    def _calls(self, path: str, left_out: LeftOut) -> list[dict[str, Any]]:
        calls = []
        if self.function_call is not None and self.role == "assistant":
            calls.append(_wire_call(self.function_call, None))
        for index, call in enumerate(self.tool_calls or ()):
            where = f"{path}.tool_calls[{index}]"
            if call.custom is not None:
                function = FunctionCall(call.custom.name, {INPUT: call.custom.input or ""})
                calls.append(_wire_call(function, call.id))
            elif call.function is not None:
                calls.append(_wire_call(call.function, call.id))
            elif call.type in ("function", "custom", None):
                param = f"{where}.{call.type or 'function'}"
                raise InvalidRequestError(f"field '{param}' is required", param=param)
            else:
                left_out.add_part(where, call.type, "neither a function nor a custom tool")
        return calls


def _wire_call(function: FunctionCall, call_id: str | None) -> dict[str, Any]:
    arguments = function.arguments
    if isinstance(arguments, dict):
        arguments = msgspec.json.encode(arguments).decode()
    called = {"name": function.name, "arguments": arguments or ""}
    return {"type": "function", "function": called} | ({} if call_id is None else {"id": call_id})


class FunctionDefinition(msgspec.Struct, frozen=True, omit_defaults=True):
    """A function that the model may call; `parameters` is a JSON schema.

    With `strict` a keyword of the schema that cannot be enforced is an error.
    """

    name: FunctionName
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(msgspec.Struct, frozen=True):
    """A function that the model may call."""

    function: FunctionDefinition


def wire_tools(tools: list[Tool] | None) -> list[dict[str, Any]] | None:
    """The tools as the chat template gets them; None if there are none."""
    if not tools:
        return None
    return [{"type": "function", "function": msgspec.to_builtins(tool.function)} for tool in tools]
