"""Items of a Responses conversation as the messages of a chat."""

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import msgspec

from server.api.responses.schema import InputImage, InputItem, SummaryText, TextPart
from server.api.schema.messages import ChatMessage, FunctionCall, Role, ToolCall
from server.errors import InvalidRequestError
from server.requests.media_parts import part_of_text, part_of_url

Parts: TypeAlias = list[dict[str, Any]] | None


def wire_messages(instructions: str | None, items: str | Sequence[InputItem]) -> list[Any]:
    """The conversation as the chat template gets it. Raises InvalidRequestError naming the item."""
    conversation = _Conversation()
    if instructions:
        conversation.say("system", instructions)
    if isinstance(items, str):
        conversation.say("user", items)
    else:
        for index, item in enumerate(items):
            conversation.add(item, f"input[{index}]")
    return conversation.to_wire()


class _Conversation:
    """Messages that grow: what a model did in one turn are several items, but one message."""

    def __init__(self) -> None:
        self._messages: list[ChatMessage] = []
        # The contents of messages with pictures, by their places.
        self._parts: dict[int, list[dict[str, Any]]] = {}
        self._turn = _Turn()
        self._called: set[str] = set()

    def add(self, item: InputItem, place: str) -> None:
        """Take the next item."""
        match item.type:
            case "message" | None:
                self._add_message(item, place)
            case "function_call":
                self._add_call(item, place)
            case "function_call_output":
                self._add_result(item, place)
            case "reasoning":
                # Thoughts that only OpenAI can read have neither.
                self._turn.thoughts += _texts(item.content or item.summary or ())

    def say(self, role: Role, text: str, parts: Parts = None) -> None:
        """Somebody other than the model says something; `parts` is all of it, with pictures."""
        self._end_turn()
        last = self._messages[-1] if self._messages else None
        has_pictures = parts or len(self._messages) - 1 in self._parts
        if role == "system" and last is not None and last.role == "system" and not has_pictures:
            # Many templates take one system message only; clients send instructions and another.
            self._messages.pop()
            text = f"{last.content}\n\n{text}"
        self._add(ChatMessage(role=role, content=text), parts)

    def to_wire(self) -> list[Any]:
        """All messages."""
        self._end_turn()
        if not self._messages:
            raise InvalidRequestError("field 'input': nothing is said in it", param="input")
        return [
            message.to_wire("input", self._parts.get(index))
            for index, message in enumerate(self._messages)
        ]

    def _add_message(self, item: InputItem, place: str) -> None:
        if item.role is None:
            raise _required(f"{place}.role")
        if item.content is None:
            raise _required(f"{place}.content")
        texts = _texts(item.content)
        parts = _parts(item.content, f"{place}.content")
        if item.role != "assistant":
            self.say("system" if item.role == "developer" else item.role, "\n".join(texts), parts)
        elif parts:
            param = f"{place}.content"
            raise InvalidRequestError(
                f"field '{param}': messages of the assistant have text only", param=param
            )
        else:
            self._turn.texts += texts

    def _add_call(self, item: InputItem, place: str) -> None:
        if item.call_id is None:
            raise _required(f"{place}.call_id")
        if item.name is None:
            raise _required(f"{place}.name")
        self._called.add(item.call_id)
        self._turn.calls.append(
            ToolCall(FunctionCall(item.name, _arguments(item, place)), item.call_id)
        )

    def _add_result(self, item: InputItem, place: str) -> None:
        if item.call_id is None:
            raise _required(f"{place}.call_id")
        if item.output is None:
            raise _required(f"{place}.output")
        if item.call_id not in self._called:
            param = f"{place}.call_id"
            raise InvalidRequestError(
                f"field '{param}': no function_call before it has the id {item.call_id!r}",
                param=param,
            )
        self._end_turn()
        text = "\n".join(_texts(item.output))
        message = ChatMessage(role="tool", content=text, tool_call_id=item.call_id)
        self._add(message, _parts(item.output, f"{place}.output"))

    def _add(self, message: ChatMessage, parts: Parts) -> None:
        if parts:
            self._parts[len(self._messages)] = parts
        self._messages.append(message)

    def _end_turn(self) -> None:
        turn, self._turn = self._turn, _Turn()
        if turn.texts or turn.thoughts or turn.calls:
            self._messages.append(turn.message())


class _Turn:
    """What the model thought, said and called before somebody else had the word."""

    def __init__(self) -> None:
        self.thoughts: list[str] = []
        self.texts: list[str] = []
        self.calls: list[ToolCall] = []

    def message(self) -> ChatMessage:
        """All of it."""
        return ChatMessage(
            role="assistant",
            content="\n".join(self.texts) if self.texts or not self.calls else None,
            reasoning_content="\n".join(self.thoughts) or None,
            tool_calls=self.calls or None,
        )


def _texts(content: str | Iterable[TextPart | SummaryText | InputImage]) -> list[str]:
    if isinstance(content, str):
        return [content]
    return [part.text for part in content if not isinstance(part, InputImage)]


def _parts(content: str | Iterable[TextPart | InputImage], place: str) -> Parts:
    """The content with its pictures; None if it has none."""
    if isinstance(content, str) or not any(isinstance(part, InputImage) for part in content):
        return None
    return [
        part_of_url(part.image_url, f"{place}[{index}].image_url", "image")
        if isinstance(part, InputImage)
        else part_of_text(part.text)
        for index, part in enumerate(content)
    ]


def _required(param: str) -> InvalidRequestError:
    return InvalidRequestError(f"field '{param}' is required", param=param)


def _arguments(item: InputItem, place: str) -> str:
    """What was called with; JSON, or the worker would name it by the place it gets in a chat."""
    arguments = item.arguments or "{}"
    try:
        msgspec.json.decode(arguments)
    except (msgspec.DecodeError, RecursionError) as error:
        param = f"{place}.arguments"
        raise InvalidRequestError(
            f"field '{param}': not valid JSON: {error}", param=param
        ) from None
    return arguments
