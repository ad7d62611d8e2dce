"""`llamabind ps`: the models in memory."""

import argparse
import json
import sys
from typing import Any, Final

from server.command.client import paths
from server.command.client.client import Client
from server.command.client.errors import RefusedError
from server.command.client.make_client import make_client
from server.command.flags.connection import add_connection_flags
from server.command.ls import short_name
from server.command.terminal.formats import ago, duration, size
from server.command.terminal.screen import say, terminal_width
from server.command.terminal.table import format_table

DESCRIPTION: Final = (
    "List the models in memory: the memory that each takes, its context, and its requests."
)
EXAMPLES: Final = """
examples:
  llamabind ps
  llamabind ps --json
"""
_HEADINGS: Final = ("NAME", "STATUS", "MEMORY", "DEVICES", "CONTEXT", "KV CACHE", "REQUESTS",
                    "TOKENS/S", "LOADED", "UNLOADS")  # fmt: skip
# Left out of a narrow terminal, the first one first.
_OPTIONAL: Final = ("LOADED", "DEVICES", "UNLOADS", "TOKENS/S", "KV CACHE", "CONTEXT")
_NUMBERS: Final = ("MEMORY", "CONTEXT", "KV CACHE", "TOKENS/S")


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `ps`."""
    add_connection_flags(parser)


def run(options: argparse.Namespace) -> int:
    """Print the table."""
    models = models_in_memory(make_client(options))
    if options.json:
        print(json.dumps(models, indent=2))
    elif models:
        rows = [_row(model) for model in models]
        width = terminal_width(sys.stdout)
        print(format_table(_HEADINGS, rows, width=width, right=_NUMBERS, optional=_OPTIONAL))
    else:
        say("no model is in memory; the first request that names one loads it")
    return 0


def models_in_memory(client: Client) -> list[dict[str, Any]]:
    """The documents of all models in memory."""
    found = []
    for model in client.get(paths.MODELS)["loaded_models"]:
        try:
            found.append(client.get(paths.model_path(model)))
        except RefusedError as error:
            if error.status != 404:  # its file was removed meanwhile
                raise
    return found


def _row(model: dict[str, Any]) -> tuple[str, ...]:
    memory, engine = model["memory"] or [], model["engine"] or {}
    settings = model["settings"]["effective"] or {}
    speed, used = engine.get("generated_tokens_per_second"), engine.get("kv_cells_used")
    n_ctx = engine.get("n_ctx")
    return (
        short_name(model),
        model["status"],
        size(sum(device["used_bytes"] for device in memory)) if memory else "-",
        ", ".join(device["device"] for device in memory if device["used_bytes"]) or "-",
        str(n_ctx) if n_ctx else "-",
        f"{used / n_ctx:.0%}" if used is not None and n_ctx else "-",
        _requests(engine),
        f"{speed:.1f}" if speed else "-",
        ago(model["performance"]["load_time"]),
        _unloads(settings),
    )


def _requests(engine: dict[str, Any]) -> str:
    running, waiting = engine.get("running"), engine.get("waiting")
    if running is None:
        return "-"
    return f"{running} running, {waiting} waiting" if waiting else f"{running} running"


def _unloads(settings: dict[str, Any]) -> str:
    """When the server unloads the model without a request to do so."""
    if settings.get("pinned"):
        return "never (pinned)"
    ttl = settings.get("ttl", -1)
    return "to free memory" if ttl == -1 else f"after {duration(ttl)} idle"
