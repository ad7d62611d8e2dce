"""The items in the output of a response: reasoning, message and tool calls, with their events."""

import uuid
from abc import ABC, abstractmethod
from typing import Any, ClassVar

from server.api.shared.custom_input import CustomInput

Event = dict[str, Any]


class OutputItem(ABC):
    """One item of the output, at `index`. Its events do not have sequence numbers yet."""

    _prefix: ClassVar[str]

    def __init__(self, index: int) -> None:
        self._index = index
        # Joined at the end: appending to a string would copy it for every piece.
        self._pieces: list[str] = []
        self._id = f"{self._prefix}_{uuid.uuid4().hex}"

    def document(self, status: str) -> Event:
        """The item with the pieces that were added."""
        return {"id": self._id, "status": status} | self._fields(status)

    def begin(self) -> list[Event]:
        """The events that start the item, while it is empty."""
        return [self._whole("added", "in_progress"), *self._opening()]

    def end(self, status: str) -> list[Event]:
        """The events that end the item."""
        return [*self._closing(), self._whole("done", status)]

    def _whole(self, what: str, status: str) -> Event:
        kind = f"response.output_item.{what}"
        return {"type": kind, "output_index": self._index, "item": self.document(status)}

    def _event(self, kind: str, **fields: Any) -> Event:
        head = {"type": f"response.{kind}", "item_id": self._id, "output_index": self._index}
        return head | fields

    @abstractmethod
    def _fields(self, status: str) -> Event: ...

    @abstractmethod
    def _opening(self) -> list[Event]: ...

    @abstractmethod
    def _closing(self) -> list[Event]: ...


class _TextItem(OutputItem):
    """An item with one part, a text."""

    _kind: ClassVar[str]

    def _part(self) -> Event:
        return {"type": self._kind, "text": "".join(self._pieces)} | self._extras()

    def _extras(self) -> Event:
        """Further fields of the part."""
        return {}

    def _fields(self, status: str) -> Event:
        return {"content": [] if status == "in_progress" else [self._part()]}

    def _opening(self) -> list[Event]:
        return [self._event("content_part.added", content_index=0, part=self._part())]

    def _closing(self) -> list[Event]:
        part = self._part()
        whole = {name: part[name] for name in ("text", "logprobs") if name in part}
        return [
            self._event(f"{self._kind}.done", content_index=0, **whole),
            self._event("content_part.done", content_index=0, part=part),
        ]


class ReasoningItem(_TextItem):
    """The model's reasoning."""

    _prefix = "rs"
    _kind = "reasoning_text"

    def grow(self, text: str) -> Event:
        """Add text; returns its event."""
        self._pieces.append(text)
        return self._event("reasoning_text.delta", content_index=0, delta=text)

    def _fields(self, status: str) -> Event:
        return {"type": "reasoning", "summary": []} | super()._fields(status)


class MessageItem(_TextItem):
    """The model's text, with the documents of its log-probabilities."""

    _prefix = "msg"
    _kind = "output_text"

    def __init__(self, index: int) -> None:
        super().__init__(index)
        self._logprobs: list[Any] = []

    def grow(self, text: str, logprobs: list[Any]) -> Event:
        """Add text with its log-probabilities; returns its event."""
        self._pieces.append(text)
        self._logprobs += logprobs
        return self._event("output_text.delta", content_index=0, delta=text, logprobs=logprobs)

    def _extras(self) -> Event:
        # A copy, because the list keeps growing.
        return {"annotations": [], "logprobs": list(self._logprobs)}

    def _fields(self, status: str) -> Event:
        return {"type": "message", "role": "assistant"} | super()._fields(status)


class CallItem(OutputItem):
    """A function call; if the token limit cuts it off, its arguments are incomplete."""

    _prefix = "fc"
    _kind: ClassVar = "function_call"
    _field: ClassVar = "arguments"
    _events: ClassVar = "function_call_arguments"

    def __init__(self, index: int, call_id: str, name: str, namespace: str | None = None) -> None:
        super().__init__(index)
        self._call = {"type": self._kind, "call_id": call_id, "name": name}
        if namespace is not None:
            self._call["namespace"] = namespace

    def grow(self, arguments: str) -> list[Event]:
        """Add a piece of the arguments; returns its events, none if nothing can be sent yet."""
        text = self._read(arguments)
        return self._grown(text) if text else []

    def _read(self, arguments: str) -> str:
        return arguments

    def _grown(self, text: str) -> list[Event]:
        self._pieces.append(text)
        return [self._event(f"{self._events}.delta", delta=text)]

    def _fields(self, status: str) -> Event:  # noqa: ARG002 - the same for every status
        return self._call | {self._field: "".join(self._pieces)}

    def _opening(self) -> list[Event]:
        return []

    def _closing(self) -> list[Event]:
        return [self._event(f"{self._events}.done", name=self._call["name"], **self._whole_text())]

    def _whole_text(self) -> Event:
        return {self._field: "".join(self._pieces)}


class CustomCallItem(CallItem):
    """A call of a custom tool, whose input is a text."""

    _prefix = "ctc"
    _kind = "custom_tool_call"
    _field = "input"
    _events = "custom_tool_call_input"

    def __init__(self, index: int, call_id: str, name: str, namespace: str | None = None) -> None:
        super().__init__(index, call_id, name, namespace)
        self._input = CustomInput()

    def _read(self, arguments: str) -> str:
        return self._input.feed(arguments)

    def _closing(self) -> list[Event]:
        rest = self._input.finish()
        events = self._grown(rest) if rest else []
        return [*events, self._event(f"{self._events}.done", **self._whole_text())]
