"""Converts Anthropic's messages of content blocks to messages in OpenAI's form."""

import re
from typing import Any, Final

from msgspec.structs import replace

from server.api.anthropic.block_texts import parts_of, result_of, with_paths
from server.api.anthropic.schema import Block, Message, SystemBlock
from server.api.schema.call_arguments import wire_arguments
from server.api.schema.content import joined, text_only
from server.api.schema.left_out import LeftOut
from server.api.schema.tool_history import CallHistory

_CALLS: Final = ("tool_use", "server_tool_use", "mcp_tool_use")
_CHANGES: Final = ("tool_addition", "tool_removal")
_ASSISTANT_ONLY: Final = (*_CALLS, "thinking", "redacted_thinking")
# Claude Code begins the system message with this line, which names its version. It differs between
# conversations, so nothing behind it would be found in the prefix cache.
_BILLING: Final = re.compile(r"x-anthropic-billing-header:(?:[ \t]*\w+=[^;\s]*;)*\s*", re.ASCII)
_BILLING_REASON: Final = "it names the client, and would keep conversations from sharing a prefix"


def wire_messages(
    system: str | list[SystemBlock] | None, messages: list[Message], left_out: LeftOut
) -> list[dict[str, Any]]:
    """The messages for the chat template. Raises InvalidRequestError naming the block."""
    conversation = _Conversation(left_out)
    if system:
        blocks = system if isinstance(system, str) else [_block(one) for one in system]
        texts = _without_billing(with_paths(blocks, "system"), left_out)
        if texts:
            conversation.add_text("system", texts, "system")
    for index, message in enumerate(messages):
        conversation.add(message, f"messages[{index}]")
    # If nothing is left, an empty message of the user, as in the Responses API.
    return conversation.messages or [{"role": "user", "content": ""}]


class _Conversation:
    """Collects messages; a result of a tool is a message of its own in OpenAI's form."""

    def __init__(self, left_out: LeftOut) -> None:
        self.messages: list[dict[str, Any]] = []
        self._left_out = left_out
        self._history = CallHistory(left_out)

    def add(self, message: Message, path: str) -> None:
        """Add the next message."""
        blocks = with_paths(message.content, f"{path}.content")
        if message.role == "assistant":
            self._history.add_calls(block.id for _, block in blocks if block.kind in _CALLS)
            self._add_assistant(blocks, path)
            return
        others = []
        for param, block in blocks:
            is_result = _is_result(block)
            if block.kind in _ASSISTANT_ONLY or (is_result and message.role == "system"):
                reason = f"{message.role} messages cannot contain this type of block"
                self._left_out.add_part(param, block.kind, reason)
            elif is_result:
                self._add_result(param, block)
            else:
                others.append((param, block))
        # A message of results only, or of changes to the tools, has no text.
        if not blocks or any(block.kind not in _CHANGES for _, block in others):
            self.add_text(message.role, others, path)

    def add_text(self, role: str, blocks: list[tuple[str, Block]], path: str) -> None:
        """Add a message of texts and images."""
        content = joined(parts_of(blocks, self._left_out))
        if role == "system":
            content = text_only(content, path, self._left_out)
        self.messages.append({"role": role, "content": content})

    def _add_assistant(self, blocks: list[tuple[str, Block]], path: str) -> None:
        """Add the assistant's blocks. Results of Anthropic's own tools stand between them."""
        pending: list[tuple[str, Block]] = []
        for param, block in blocks:
            if _is_result(block):
                if pending:
                    self._add_said(pending, path)
                    pending = []
                self._add_result(param, block)
            else:
                pending.append((param, block))
        if pending or not blocks:
            self._add_said(pending, path)

    def _add_said(self, blocks: list[tuple[str, Block]], path: str) -> None:
        found = [self._call(param, block) for param, block in blocks if block.kind in _CALLS]
        calls = [call for call in found if call is not None]
        reasoning = [
            block.thinking for _, block in blocks if block.kind == "thinking" and block.thinking
        ]
        others = [one for one in blocks if one[1].kind not in (*_CALLS, "thinking")]
        content = joined(parts_of(others, self._left_out, may_leave_out=True))
        text = text_only(content, path, self._left_out)
        message: dict[str, Any] = {"role": "assistant", "content": text}
        if calls:
            message |= {"content": text or None, "tool_calls": calls}
        if reasoning:
            message["reasoning_content"] = "\n".join(reasoning)
        self.messages.append(message)

    def _add_result(self, path: str, block: Block) -> None:
        self._history.check_result(path, block.tool_use_id)
        content = result_of(path, block, self._left_out)
        named = {"tool_call_id": block.tool_use_id} if block.tool_use_id else {}
        self.messages.append({"role": "tool", "content": content} | named)

    def _call(self, path: str, block: Block) -> dict[str, Any] | None:
        if not block.name:
            self._left_out.add_part(path, block.kind, "it has no name")
            return None
        arguments = wire_arguments(block.input, path, self._left_out)
        function = {"name": block.name, "arguments": arguments}
        return {"type": "function", "function": function} | ({"id": block.id} if block.id else {})


def _without_billing(blocks: list[tuple[str, Block]], left_out: LeftOut) -> list[tuple[str, Block]]:
    """The blocks without the line that Claude Code puts in front of its system message."""
    path, first = blocks[0] if blocks else ("", Block())
    found = _BILLING.match(first.text or "")
    if found is None:
        return blocks
    left_out.add_part(path, "x-anthropic-billing-header", _BILLING_REASON)
    rest = (first.text or "")[found.end() :]
    return [*([(path, replace(first, text=rest))] if rest else []), *blocks[1:]]


def _block(block: SystemBlock) -> Block:
    return Block(type=block.type, text=block.text)


def _is_result(block: Block) -> bool:
    return block.kind == "tool_result" or block.kind.endswith("_tool_result")
