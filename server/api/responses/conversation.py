"""Converts the items of a Responses conversation to the messages of a chat."""

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import msgspec

from server.api.responses.schema import InputImage, InputItem, SummaryText, TextPart
from server.api.schema.messages import ChatMessage, FunctionCall, Role, ToolCall
from server.errors import InvalidRequestError
from server.requests.media_parts import part_of_text, part_of_url

Parts: TypeAlias = list[dict[str, Any]] | None


def wire_messages(instructions: str | None, items: str | Sequence[InputItem]) -> list[Any]:
    """The messages for the chat template. Raises InvalidRequestError naming the item."""
    conversation = _Conversation()
    if instructions:
        conversation.add_text("system", instructions)
    if isinstance(items, str):
        conversation.add_text("user", items)
    else:
        for index, item in enumerate(items):
            conversation.add(item, f"input[{index}]")
    return conversation.to_wire()


class _Conversation:
    """Collects messages: consecutive items of the model become one assistant message."""

    def __init__(self) -> None:
        self._messages: list[ChatMessage] = []
        # The contents of messages with images, by the index of the message.
        self._parts: dict[int, list[dict[str, Any]]] = {}
        self._pending = _AssistantItems()
        self._call_ids: set[str] = set()

    def add(self, item: InputItem, path: str) -> None:
        """Add the next item."""
        match item.type:
            case "message" | None:
                self._add_message(item, path)
            case "function_call":
                self._add_call(item, path)
            case "function_call_output":
                self._add_result(item, path)
            case "reasoning":
                # Encrypted reasoning, which only OpenAI can read, has neither.
                self._pending.reasoning += _texts(item.content or item.summary or ())

    def add_text(self, role: Role, text: str, parts: Parts = None) -> None:
        """Add a message of another role than assistant; with images `parts` is its content."""
        self._add_pending()
        last = self._messages[-1] if self._messages else None
        has_images = parts or len(self._messages) - 1 in self._parts
        if role == "system" and last is not None and last.role == "system" and not has_images:
            # Merged, because many templates accept one system message only, and clients send both
            # instructions and a system message.
            self._messages.pop()
            text = f"{last.content}\n\n{text}"
        self._add(ChatMessage(role=role, content=text), parts)

    def to_wire(self) -> list[Any]:
        """All messages. Raises InvalidRequestError if there are none."""
        self._add_pending()
        if not self._messages:
            raise InvalidRequestError("field 'input' contains no message", param="input")
        return [
            message.to_wire("input", self._parts.get(index))
            for index, message in enumerate(self._messages)
        ]

    def _add_message(self, item: InputItem, path: str) -> None:
        if item.role is None:
            raise _required(f"{path}.role")
        if item.content is None:
            raise _required(f"{path}.content")
        texts = _texts(item.content)
        parts = _parts(item.content, f"{path}.content")
        if item.role != "assistant":
            role: Role = "system" if item.role == "developer" else item.role
            self.add_text(role, "\n".join(texts), parts)
        elif parts:
            param = f"{path}.content"
            raise InvalidRequestError(
                f"field '{param}': assistant messages may contain text only", param=param
            )
        else:
            self._pending.texts += texts

    def _add_call(self, item: InputItem, path: str) -> None:
        if item.call_id is None:
            raise _required(f"{path}.call_id")
        if item.name is None:
            raise _required(f"{path}.name")
        self._call_ids.add(item.call_id)
        self._pending.calls.append(
            ToolCall(FunctionCall(item.name, _arguments(item, path)), item.call_id)
        )

    def _add_result(self, item: InputItem, path: str) -> None:
        if item.call_id is None:
            raise _required(f"{path}.call_id")
        if item.output is None:
            raise _required(f"{path}.output")
        if item.call_id not in self._call_ids:
            param = f"{path}.call_id"
            raise InvalidRequestError(
                f"field '{param}': no earlier function_call has the id {item.call_id!r}",
                param=param,
            )
        self._add_pending()
        text = "\n".join(_texts(item.output))
        message = ChatMessage(role="tool", content=text, tool_call_id=item.call_id)
        self._add(message, _parts(item.output, f"{path}.output"))

    def _add(self, message: ChatMessage, parts: Parts) -> None:
        if parts:
            self._parts[len(self._messages)] = parts
        self._messages.append(message)

    def _add_pending(self) -> None:
        pending, self._pending = self._pending, _AssistantItems()
        if pending.texts or pending.reasoning or pending.calls:
            self._messages.append(pending.message())


class _AssistantItems:
    """Consecutive items of the model: reasoning, texts and calls of one assistant message."""

    def __init__(self) -> None:
        self.reasoning: list[str] = []
        self.texts: list[str] = []
        self.calls: list[ToolCall] = []

    def message(self) -> ChatMessage:
        """The items as one message."""
        return ChatMessage(
            role="assistant",
            content="\n".join(self.texts) if self.texts or not self.calls else None,
            reasoning_content="\n".join(self.reasoning) or None,
            tool_calls=self.calls or None,
        )


def _texts(content: str | Iterable[TextPart | SummaryText | InputImage]) -> list[str]:
    if isinstance(content, str):
        return [content]
    return [part.text for part in content if not isinstance(part, InputImage)]


def _parts(content: str | Iterable[TextPart | InputImage], path: str) -> Parts:
    """The content as a list of parts if it has images, else None."""
    if isinstance(content, str) or not any(isinstance(part, InputImage) for part in content):
        return None
    return [
        part_of_url(part.image_url, f"{path}[{index}].image_url", "image")
        if isinstance(part, InputImage)
        else part_of_text(part.text)
        for index, part in enumerate(content)
    ]


def _required(param: str) -> InvalidRequestError:
    return InvalidRequestError(f"field '{param}' is required", param=param)


def _arguments(item: InputItem, path: str) -> str:
    """The arguments, checked to be JSON here: the worker's error would name a field of a chat."""
    arguments = item.arguments or "{}"
    try:
        msgspec.json.decode(arguments)
    except (msgspec.DecodeError, RecursionError) as error:
        param = f"{path}.arguments"
        raise InvalidRequestError(
            f"field '{param}': not valid JSON: {error}", param=param
        ) from None
    return arguments
