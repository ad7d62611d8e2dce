"""`llamabind unload`: free the memory of models."""

import argparse
import json
from typing import Final

from server.command.client import paths
from server.command.client.errors import UsageError
from server.command.client.make_client import make_client
from server.command.flags.connection import add_connection_flags

DESCRIPTION: Final = (
    "Unload models from memory. Running answers get the server's --drain-seconds (30) to finish, "
    "unless --force is given."
)
EXAMPLES: Final = """
examples:
  llamabind unload tiny-chat.gguf
  llamabind unload --all
"""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `unload`."""
    parser.add_argument(
        "model", nargs="*", metavar="MODEL", help="name of a model, as `ps` lists it"
    )
    parser.add_argument("--all", action="store_true", help="unload every model")
    parser.add_argument("-f", "--force", action="store_true", help="end running answers at once")
    add_connection_flags(parser)


def run(options: argparse.Namespace) -> int:
    """Unload the models one by one."""
    if options.all == bool(options.model):
        raise UsageError("unload: give the names of models, or --all")
    client = make_client(options)
    models = list(client.get(paths.MODELS)["loaded_models"]) if options.all else options.model
    for model in models:
        client.post(paths.model_path(model, "unload"), {"force": options.force})
        if not options.json:
            print(f"unloaded {model}")
    if options.json:
        print(json.dumps({"unloaded": models}))
    return 0
