"""Messages and tools of a conversation in OpenAI's form."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from server.api.schema.call_arguments import wire_arguments
from server.api.schema.content import ContentPart, text_only, wire_content
from server.api.schema.left_out import LeftOut
from server.http.body.lenient_values import CONTENT

Role = Literal["system", "developer", "user", "assistant", "tool", "function", "control"]
FunctionName = Annotated[str, Meta(min_length=1, max_length=256)]
CalledName = Annotated[str, Meta(max_length=256)]
"""The name in a past call; one without a name is left out with a warning."""
INPUT = "input"
"""The only argument of the function that stands for a custom tool."""


class FunctionCall(msgspec.Struct, frozen=True):
    """A called function; `arguments` is a JSON object, or a string that contains one. Other
    values are shown to the model as a text, with a warning.
    """

    name: CalledName | None = None
    arguments: Any = None


class CustomCall(msgspec.Struct, frozen=True):
    """A called custom tool with its text."""

    name: CalledName | None = None
    input: str | None = None


class ToolCall(msgspec.Struct, frozen=True):
    """A call that the assistant made earlier in the conversation, of a function or with type
    "custom" of a custom tool. A call of another type or without a name is left out with a warning.
    """

    function: FunctionCall | None = None
    id: str | None = None
    type: str | None = None
    custom: CustomCall | None = None


class ChatMessage(msgspec.Struct, frozen=True, omit_defaults=True):
    """One message of a conversation. A `content` that is null is an empty text.

    Role "function" with its `name`, and `function_call` of the assistant, are OpenAI's predecessors
    of tools. Role "control" is for templates that know it, such as Granite's.
    """

    role: Role
    content: Annotated[str | list[ContentPart] | None, Meta(extra=CONTENT)] = None
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
        if self.tool_calls and self.role != "assistant":
            where = f"{path}.tool_calls"
            left_out.add_part(where, "tool_calls", "only the assistant calls tools")
        if self.role != "assistant":
            return []
        calls = []
        if self.function_call is not None:
            calls.append(_wire_call(self.function_call, None, f"{path}.function_call", left_out))
        for index, call in enumerate(self.tool_calls or ()):
            where = f"{path}.tool_calls[{index}]"
            function = call.function
            if call.custom is not None:
                function = FunctionCall(call.custom.name, {INPUT: call.custom.input or ""})
            if function is not None:
                calls.append(_wire_call(function, call.id, where, left_out))
            else:
                kind = call.type or "call"
                left_out.add_part(where, kind, "neither a function nor a custom tool")
        return [call for call in calls if call is not None]


def _wire_call(
    function: FunctionCall, call_id: str | None, path: str, left_out: LeftOut
) -> dict[str, Any] | None:
    if not function.name:
        left_out.add_part(path, "call", "it has no name")
        return None
    arguments = wire_arguments(function.arguments, path, left_out)
    called = {"name": function.name, "arguments": arguments}
    return {"type": "function", "function": called} | ({"id": call_id} if call_id else {})


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
