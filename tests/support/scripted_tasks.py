"""Tasks of a scripted engine (fake_worker.py) that need none of its state."""

import struct
from pathlib import Path
from typing import Any

from llamabind.errors import InvalidParameterError, SlotBusyError, StateError
from server.protocol.job import ChatPrompt, InfillPrompt, TextPrompt
from server.protocol.tasks import (
    Embed,
    EraseSlot,
    Rank,
    RestoreSlot,
    SaveSlot,
    Scores,
    SlotMoved,
    Task,
    TaskResult,
    Vectors,
)


def text_of(prompt: ChatPrompt | TextPrompt | InfillPrompt) -> str:
    """The text of the last message, or the whole prompt; token ids as numbers."""
    if isinstance(prompt, ChatPrompt):
        if not prompt.messages:
            # As RequestMaker.
            raise InvalidParameterError("messages", "a conversation is required")
        content = prompt.messages[-1].get("content") or ""
        return content if isinstance(content, str) else " ".join(map(_part_text, content))
    content = prompt.content
    return content if isinstance(content, str) else " ".join(map(str, content))


def _part_text(part: dict[str, Any]) -> str:
    """A text, or the size of an image's file and the field that it came in."""
    if part["type"] == "text":
        return part["text"]
    return f"{part['type']}:{len(part['data'])}:{part['param']}"


def move(task: Task) -> SlotMoved:
    """Slot 7 is busy, slot 9 does not exist."""
    assert isinstance(task, SaveSlot | RestoreSlot | EraseSlot)
    if task.slot == 7:
        raise SlotBusyError("slot 7 is computing")
    if task.slot == 9:
        raise InvalidParameterError("id_slot", "slot 9 is not in 0..8")
    if isinstance(task, EraseSlot):
        return SlotMoved(84)
    path = Path(task.path)
    if path.name == "full":
        raise StateError("the slot file cannot be written: no space left")
    if isinstance(task, SaveSlot):
        path.write_text(f"slot {task.slot}")
    if not path.exists():
        raise StateError("the slot file cannot be read")
    return SlotMoved(84, path.stat().st_size, 2.5)


def vectors(task: Task) -> TaskResult:
    """For each input a vector and a score, which contain its length."""
    match task:
        case Embed(inputs=inputs):
            if "" in inputs:
                raise InvalidParameterError("input", "input 0 has no tokens")
            found = tuple(struct.pack("<4f", len(item), 0, 4, 3) for item in inputs)
            return Vectors(vectors=found, n_tokens=tuple(map(len, inputs)))
        case Rank(documents=documents):
            lengths = tuple(map(len, documents))
            return Scores(scores=tuple(map(float, lengths)), n_tokens=sum(lengths))
        case _:
            raise InvalidParameterError("model", f"no {type(task).__name__}")
