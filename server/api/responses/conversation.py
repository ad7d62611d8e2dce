"""Converts the items of a Responses conversation to the messages of a chat."""

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

from server.api.responses.schema import InputItem
from server.api.responses.tool_items import call_of, has_result, is_call, is_result, result_of
from server.api.schema.content import text_only, wire_content
from server.api.schema.left_out import LeftOut
from server.api.schema.offered_tools import OfferedTools
from server.errors import InvalidRequestError

Content: TypeAlias = str | list[dict[str, Any]]
NOT_STORED: Final = "this server stores no responses; send the whole conversation as input"
# Items with nothing for the model to read, by type, and the reason.
_LEFT: Final = {
    "web_search_call": "the item has no result of the search",
    "image_generation_call": "images of the assistant are not shown to the model",
    "compaction": "its content is encrypted",
    "compaction_summary": "its content is encrypted",
    "compaction_trigger": "conversations are not compacted",
    "configuration_update": "settings apply to the whole request",
    "mcp_list_tools": "tools of MCP servers are not called",
    "mcp_approval_request": "tools of MCP servers are not called",
    "mcp_approval_response": "tools of MCP servers are not called",
}


def wire_messages(
    instructions: str | None,
    items: str | Sequence[InputItem] | None,
    offered: OfferedTools,
    left_out: LeftOut,
) -> list[dict[str, Any]]:
    """The messages for the chat template. Raises InvalidRequestError naming the item."""
    conversation = _Conversation(offered, left_out)
    if instructions:
        conversation.add_text("system", instructions)
    if isinstance(items, str):
        conversation.add_text("user", items)
    else:
        for index, item in enumerate(items or ()):
            conversation.add(item, f"input[{index}]")
    return conversation.messages()


class _Conversation:
    """Collects messages: consecutive items of the model become one assistant message."""

    def __init__(self, offered: OfferedTools, left_out: LeftOut) -> None:
        self._offered = offered
        self._left_out = left_out
        self._messages: list[dict[str, Any]] = []
        self._pending = _AssistantItems()
        # The tool of each call by the call's id, and that id by the id of the call's item.
        self._calls: dict[str, str] = {}
        self._aliases: dict[str, str] = {}

    def add(self, item: InputItem, path: str) -> None:
        """Add the next item."""
        kind = item.type
        if kind == "item_reference" or (kind is None and item.role is None and item.id):
            raise InvalidRequestError(f"field '{path}': {NOT_STORED}", param=path)
        if kind in ("message", None):
            self._add_message(item, path)
        elif is_call(item):
            self._add_call(item, path)
        elif is_result(item):
            self._add_result(item, path)
        elif kind == "reasoning":
            self._add_reasoning(item, path)
        elif kind != "additional_tools":
            self._add_other(item, str(kind), path)

    def add_text(self, role: str, content: Content) -> None:
        """Add a message of another role than assistant."""
        self._add_pending()
        last = self._messages[-1] if self._messages else None
        if (
            role == "system"
            and isinstance(content, str)
            and last is not None
            and last["role"] == "system"
            and isinstance(last["content"], str)
        ):
            # Merged, because many templates accept one system message only, and clients send both
            # instructions and a system message.
            last["content"] = f"{last['content']}\n\n{content}"
        else:
            self._messages.append({"role": role, "content": content})

    def messages(self) -> list[dict[str, Any]]:
        """All messages; without any an empty one of the user."""
        self._add_pending()
        return self._messages or [{"role": "user", "content": ""}]

    def _add_message(self, item: InputItem, path: str) -> None:
        if item.role is None:
            raise _required(f"{path}.role")
        content = wire_content(
            item.content,
            f"{path}.content",
            self._left_out,
            may_leave_out=item.role == "assistant",
        )
        if item.role != "assistant":
            self.add_text("system" if item.role == "developer" else item.role, content)
        else:
            text = text_only(content, f"{path}.content", self._left_out)
            self._pending.texts += [text] if text else []

    def _add_reasoning(self, item: InputItem, path: str) -> None:
        content = wire_content(item.content, f"{path}.content", self._left_out)
        text = text_only(content, path, self._left_out) or _summary(item)
        if text:
            self._pending.reasoning.append(text)
        elif item.encrypted_content:
            # Only the server that wrote it can read it.
            self._left_out.add_part(path, "reasoning", "its content is encrypted")

    def _add_call(self, item: InputItem, path: str) -> None:
        call_id = item.call_id or item.id or f"call_{len(self._calls)}"
        call = call_of(item, path, self._offered, self._left_out)
        if call is None:
            return
        self._calls[call_id] = call.name
        if item.id is not None:
            self._aliases[item.id] = call_id
        self._pending.calls.append(
            {
                "type": "function",
                "id": call_id,
                "function": {"name": call.name, "arguments": call.arguments},
            }
        )
        if has_result(item):
            self._add_tool_message(item, path, call_id)

    def _add_result(self, item: InputItem, path: str) -> None:
        call_id = self._call_of(item)
        if call_id is None and item.type == "tool_search_output":
            return  # a search by OpenAI's server; the tools that it found are offered
        if call_id is None or call_id not in self._calls:
            # OpenAI refuses it, but agents send it when they cut the beginning of a conversation.
            self._left_out.note(path, "a tool's result without an earlier call of this id")
        self._add_tool_message(item, path, call_id)

    def _call_of(self, item: InputItem) -> str | None:
        """The id of the call that an item answers, by that id, the call's item or its tool."""
        named = item.call_id or item.id
        if named is not None and (item.call_id or named in self._calls or named in self._aliases):
            return named if named in self._calls else self._aliases.get(named, named)
        name = item.name and self._offered.wire_name(item.name, item.namespace)
        if item.type == "tool_search_output":
            name = "tool_search"
        return next((key for key in reversed(self._calls) if self._calls[key] == name), None)

    def _add_tool_message(self, item: InputItem, path: str, call_id: str | None) -> None:
        content = result_of(item, path, self._left_out)
        self._add_pending()
        named = {} if call_id is None else {"tool_call_id": call_id}
        self._messages.append({"role": "tool", "content": content} | named)

    def _add_other(self, item: InputItem, kind: str, path: str) -> None:
        """Add the text of an item that only other servers create; leave it out if it has none."""
        readable = wire_content(item.content, f"{path}.content", self._left_out) or _summary(item)
        if readable:
            self.add_text("user", readable)
        else:
            reason = _LEFT.get(kind, "this type of item is not supported")
            self._left_out.add_part(path, kind, reason)

    def _add_pending(self) -> None:
        pending, self._pending = self._pending, _AssistantItems()
        if pending.texts or pending.reasoning or pending.calls:
            self._messages.append(pending.message())


class _AssistantItems:
    """Consecutive items of the model: reasoning, texts and calls of one assistant message."""

    def __init__(self) -> None:
        self.reasoning: list[str] = []
        self.texts: list[str] = []
        self.calls: list[dict[str, Any]] = []

    def message(self) -> dict[str, Any]:
        """The items as one message."""
        has_text = self.texts or not self.calls
        message: dict[str, Any] = {
            "role": "assistant",
            "content": "\n".join(self.texts) if has_text else None,
        }
        if self.reasoning:
            message["reasoning_content"] = "\n".join(self.reasoning)
        if self.calls:
            message["tool_calls"] = self.calls
        return message


def _summary(item: InputItem) -> str:
    summary = item.summary or ""
    return summary if isinstance(summary, str) else "\n".join(part.text or "" for part in summary)


def _required(param: str) -> InvalidRequestError:
    return InvalidRequestError(f"field '{param}' is required", param=param)
