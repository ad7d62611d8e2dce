"""`llamabind rm`: delete the files of a model that was downloaded from the hub."""

import argparse
import json
import sys
from typing import Final

from server.command.client import paths
from server.command.client.errors import CommandError, UsageError
from server.command.client.make_client import make_client
from server.command.flags.connection import add_connection_flags
from server.command.terminal.formats import size
from server.command.terminal.screen import say

DESCRIPTION: Final = (
    "Delete a downloaded model from the disk. Only models from the hub can be deleted; your own "
    "files in the models directory stay."
)
EXAMPLES: Final = """
examples:
  llamabind rm org/repo/model-Q4_K_M.gguf
  llamabind rm -y org/repo:Q4_K_M          without the question
"""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `rm`."""
    parser.add_argument(
        "model", nargs="+", metavar="MODEL", help="name of a model, as `ls` lists it"
    )
    parser.add_argument("-y", "--yes", action="store_true", help="delete without asking")
    add_connection_flags(parser)


def run(options: argparse.Namespace) -> int:
    """Ask, then delete the models one by one."""
    client = make_client(options)
    deleted = []
    for model in options.model:
        document = client.get(paths.model_path(model))
        if not options.yes and not _confirms(document["id"], document["size"]):
            raise CommandError(f"{document['id']} was not deleted")
        client.delete(paths.model_path(document["id"]))
        deleted.append(document["id"])
        if not options.json:
            print(f"deleted {document['id']}")
    if options.json:
        print(json.dumps({"deleted": deleted}))
    return 0


def _confirms(model: str, n_bytes: int) -> bool:
    """Whether the person at the terminal says yes."""
    if not sys.stdin.isatty():
        raise UsageError(
            "rm asks before it deletes, but stdin is not a terminal; -y deletes at once"
        )
    say(f"Delete {model} ({size(n_bytes)}) from the disk? [y/N] ")
    return sys.stdin.readline().strip().lower() in ("y", "yes")
