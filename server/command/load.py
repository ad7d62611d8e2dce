"""`llamabind load`: load a model with chosen settings, or estimate the memory that it needs."""

import argparse
import json
import sys
from typing import Any, Final

from server.command.client import paths
from server.command.client.loading import load_path, load_with_bar
from server.command.client.make_client import make_client
from server.command.flags.connection import add_connection_flags
from server.command.flags.tables import add_load_flags, load_body
from server.command.terminal.formats import size
from server.command.terminal.screen import say, terminal_width
from server.command.terminal.table import format_table

DESCRIPTION: Final = (
    "Load a model into memory. Settings that are left out have the server's defaults; "
    "docs/loading.md explains each."
)
EXAMPLES: Final = """
examples:
  llamabind load tiny-chat.gguf
  llamabind load tiny-chat.gguf -c 8192 -np 4 --cache-type-k q8_0
  llamabind load tiny-chat.gguf --estimate      print the memory that the load would take
"""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `load`."""
    parser.add_argument("model", metavar="MODEL", help="name of a model, as `ls` lists it")
    parser.add_argument(
        "--estimate", action="store_true", help="print the memory that the load needs; load nothing"
    )
    add_connection_flags(
        parser, json_help="print JSON: a line for each event of the load, or the estimate"
    )
    add_load_flags(parser)


def run(options: argparse.Namespace) -> int:
    """Load or estimate."""
    body = load_body(options)
    client = make_client(options)
    if options.estimate:
        estimate = client.post(paths.model_path(options.model, "estimate"), body)
        print(json.dumps(estimate, indent=2) if options.json else estimate_text(estimate))
        return 0 if estimate["fits"] else 1
    if options.json:
        for document in client.stream("POST", load_path(options.model), body):
            print(json.dumps(document), flush=True)
        return 0
    reply = load_with_bar(client, options.model, body)
    n_ctx = (reply["settings"]["effective"] or {}).get("n_ctx")
    memory = size(sum(device["used_bytes"] for device in reply["memory"]))
    context = f", context of {n_ctx} tokens" if n_ctx else ""
    print(f"loaded {options.model}: {memory} of memory{context}")
    for warning in reply["warnings"]:
        say(f"warning: {warning}")
    return 0


def estimate_text(estimate: dict[str, Any]) -> str:
    """The estimate as text: a table of devices, and whether the load fits."""
    headings = ("DEVICE", "NEEDED", "WEIGHTS", "CONTEXT", "BUFFERS", "FREE", "TOTAL")
    rows = [
        (
            device["device"],
            *(
                size(device[f"{name}_bytes"])
                for name in ("used", "model", "context", "compute", "free", "total")
            ),
        )
        for device in estimate["memory"]
    ]
    width = terminal_width(sys.stdout)
    optional = ("TOTAL", "BUFFERS", "CONTEXT", "WEIGHTS")
    lines = [format_table(headings, rows, width=width, right=headings[1:], optional=optional)]
    effective = estimate["settings"]["effective"]
    n_ctx, layers = effective.get("n_ctx"), effective.get("n_gpu_layers")
    lines.append(f"\ncontext: {n_ctx} tokens; layers on GPUs: {layers}")
    if not estimate["fits"]:
        lines.append("does not fit: try a smaller context (-c), or a smaller quantisation")
    elif estimate["evicts"]:
        lines.append(f"fits once these models are unloaded: {', '.join(estimate['evicts'])}")
    elif estimate["waits_for"]:
        lines.append(f"fits once these models are idle: {', '.join(estimate['waits_for'])}")
    else:
        lines.append("fits")
    lines += [f"warning: {warning}" for warning in estimate["warnings"]]
    return "\n".join(lines)
