"""Conversation: its messages, and the request for the next answer."""

import json
import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from server.command.client.errors import CommandError
from server.command.client.state_folder import state_file


@dataclass(slots=True, kw_only=True)
class Conversation:
    """`fields` are further fields of each request, such as temperature. `parts` are images and
    audio that go out with the next message.
    """

    system: str = ""
    messages: list[dict[str, Any]] = field(default_factory=list)
    fields: dict[str, Any] = field(default_factory=dict)
    parts: list[dict[str, Any]] = field(default_factory=list)

    def add_user(self, text: str) -> None:
        """Add the user's message, with the parts that wait for it."""
        content: Any = text
        if self.parts:
            content = [*self.parts, *([{"type": "text", "text": text}] if text else [])]
            self.parts = []
        self.messages.append({"role": "user", "content": content})

    def add_answer(self, text: str) -> None:
        """Add the model's answer, whole or stopped."""
        self.messages.append({"role": "assistant", "content": text})

    def drop_answer(self) -> bool:
        """Drop the last answer, so that the next request asks for it anew; False without one."""
        if self.messages and self.messages[-1]["role"] == "assistant":
            self.messages.pop()
        return bool(self.messages)

    def drop_question(self) -> None:
        """Drop the last message of the user, which got no answer."""
        if self.messages and self.messages[-1]["role"] == "user":
            self.messages.pop()

    def request(self) -> dict[str, Any]:
        """The body of a streamed chat."""
        system = [{"role": "system", "content": self.system}] if self.system else []
        return {
            "messages": [*system, *self.messages],
            "stream_options": {"include_usage": True},
            **self.fields,
        }

    def save(self, name: str, model: str) -> Path:
        """Write the conversation to a file; returns its path. Raises CommandError.

        If that fails, as on a full disk, an older file of this name stays as it was.
        """
        path = conversation_file(name)
        document = {"model": model, "system": self.system, "messages": self.messages}
        try:
            _write(path.resolve(), json.dumps(document, indent=2))
        except OSError as error:
            raise CommandError(f"{path} cannot be written: {error.strerror}") from None
        return path

    def load(self, name: str) -> None:
        """Read a conversation that save() wrote. Raises CommandError."""
        path = conversation_file(name)
        try:
            document = json.loads(path.read_text())
        except OSError as error:
            raise CommandError(f"{path} cannot be read: {error.strerror}") from None
        except ValueError:
            document = None
        match document:
            case {"system": str() as system, "messages": list() as messages} if all(
                isinstance(one, dict) and one.keys() == {"role", "content"} for one in messages
            ):
                self.system, self.messages, self.parts = system, messages, []
            case _:
                raise CommandError(f"{path} is not a conversation that /save wrote")


def _write(path: Path, text: str) -> None:
    """Write a file in whole or not at all; devices and pipes as they are. Raises OSError."""
    if path.exists() and not path.is_file():
        path.write_text(text)
        return
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        part.write_text(text)
        part.replace(path)
    except OSError:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def conversation_file(name: str) -> Path:
    """The file of a saved conversation: a path if `name` has a slash, else one in the user's state
    folder.
    """
    if "/" in name:
        return Path(name).expanduser()
    return state_file(f"conversations/{name.removesuffix('.json')}.json")
