"""The items of a response, as they grow: thoughts, a text, calls of functions."""

import uuid
from abc import ABC, abstractmethod
from typing import Any, ClassVar

Event = dict[str, Any]


class OutputItem(ABC):
    """One item of the output, at a place of its own. Its events have no sequence numbers yet."""

    _prefix: ClassVar[str]

    def __init__(self, place: int) -> None:
        self._place = place
        # Joined at the end: a text that grows by itself is copied with every piece.
        self._pieces: list[str] = []
        self._id = f"{self._prefix}_{uuid.uuid4().hex}"

    def document(self, status: str) -> Event:
        """All of the item so far."""
        return {"id": self._id, "status": status} | self._fields(status)

    def begin(self) -> list[Event]:
        """The events of its beginning, while it is empty."""
        return [self._whole("added", "in_progress"), *self._opening()]

    def end(self, status: str) -> list[Event]:
        """The events of its end."""
        return [*self._closing(), self._whole("done", status)]

    def _whole(self, what: str, status: str) -> Event:
        kind = f"response.output_item.{what}"
        return {"type": kind, "output_index": self._place, "item": self.document(status)}

    def _event(self, kind: str, **fields: Any) -> Event:
        head = {"type": f"response.{kind}", "item_id": self._id, "output_index": self._place}
        return head | fields

    @abstractmethod
    def _fields(self, status: str) -> Event: ...

    @abstractmethod
    def _opening(self) -> list[Event]: ...

    @abstractmethod
    def _closing(self) -> list[Event]: ...


class _TextItem(OutputItem):
    """An item whose one part is a text."""

    _kind: ClassVar[str]

    def _part(self) -> Event:
        return {"type": self._kind, "text": "".join(self._pieces)} | self._extras()

    def _extras(self) -> Event:
        """What the part has beside its text."""
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
    """What the model thought."""

    _prefix = "rs"
    _kind = "reasoning_text"

    def grow(self, text: str) -> Event:
        """The event of more text."""
        self._pieces.append(text)
        return self._event("reasoning_text.delta", content_index=0, delta=text)

    def _fields(self, status: str) -> Event:
        return {"type": "reasoning", "summary": []} | super()._fields(status)


class MessageItem(_TextItem):
    """What the model said, and the log-probabilities of it as documents."""

    _prefix = "msg"
    _kind = "output_text"

    def __init__(self, place: int) -> None:
        super().__init__(place)
        self._logprobs: list[Any] = []

    def grow(self, text: str, logprobs: list[Any]) -> Event:
        """The event of more text."""
        self._pieces.append(text)
        self._logprobs += logprobs
        return self._event("output_text.delta", content_index=0, delta=text, logprobs=logprobs)

    def _extras(self) -> Event:
        # A copy: the list goes on growing.
        return {"annotations": [], "logprobs": list(self._logprobs)}

    def _fields(self, status: str) -> Event:
        return {"type": "message", "role": "assistant"} | super()._fields(status)


class CallItem(OutputItem):
    """A call of a function; the arguments of one that was cut off are as far as they came."""

    _prefix = "fc"

    def __init__(self, place: int, call_id: str, name: str) -> None:
        super().__init__(place)
        self._call = {"type": "function_call", "call_id": call_id, "name": name}

    def grow(self, arguments: str) -> Event:
        """The event of more arguments."""
        self._pieces.append(arguments)
        return self._event("function_call_arguments.delta", delta=arguments)

    def _fields(self, status: str) -> Event:  # noqa: ARG002 - it has nothing that comes at the end
        return self._call | {"arguments": "".join(self._pieces)}

    def _opening(self) -> list[Event]:
        return []

    def _closing(self) -> list[Event]:
        arguments = "".join(self._pieces)
        name = self._call["name"]
        return [self._event("function_call_arguments.done", name=name, arguments=arguments)]
