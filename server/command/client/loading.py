"""load_with_bar: loads a model through a server, with a progress bar."""

from typing import Any

from server.command.client import paths
from server.command.client.client import Client
from server.command.client.errors import DisconnectedError
from server.command.terminal.progress import ProgressBar
from server.command.terminal.screen import say


def load_path(model: str) -> str:
    """The path of a load that streams its events."""
    return f"{paths.model_path(model, 'load')}?stream=true"


def load_with_bar(client: Client, model: str, body: dict[str, Any]) -> dict[str, Any]:
    """Load a model with a progress bar; returns the reply of the load."""
    reply: dict[str, Any] = {}
    with ProgressBar(f"loading {model}") as bar:
        bar.show(0.0)
        for document in client.stream("POST", load_path(model), body):
            match document:
                case {"type": "progress", "progress": float() | int() as fraction}:
                    bar.show(fraction)
                case {"type": "eviction", "model": evicted}:
                    say(f"unloading {evicted} to free memory")
                case {"status": "success"}:
                    reply = document
                case _:
                    pass
    if not reply:
        raise DisconnectedError
    return reply
