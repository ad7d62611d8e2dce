"""`llamabind pull`: download a model from the hub."""

import argparse
from typing import Final

from server.command.client.download import download
from server.command.client.session import open_server
from server.command.flags.connection import add_connection_flags
from server.command.terminal.formats import size
from server.command.terminal.screen import say

DESCRIPTION: Final = (
    "Download a model from the hub (huggingface.co), with all its shards and its projector for "
    "images. Ctrl-C pauses the download; the same command continues it. Works without a running "
    "server, too."
)
EXAMPLES: Final = """
examples:
  llamabind pull org/repo:Q4_K_M       one quantisation
  llamabind pull org/repo              Q4_K_M if the repository has it, else Q8_0, else the first
  llamabind pull org/repo --file model-Q5_K_S.gguf

The variable HF_TOKEN holds the token for repositories that need one.
"""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `pull`."""
    parser.add_argument(
        "model",
        metavar="REPO",
        help="org/repo, with :QUANT for a quantisation and @REVISION for a branch or commit",
    )
    parser.add_argument("--file", metavar="PATH", help="a file of the repository in place of QUANT")
    add_connection_flags(parser, json_help="print a line of JSON for each step of the download")


def run(options: argparse.Namespace) -> int:
    """Download, and print the name of the model."""
    with open_server(options) as client:
        state = download(client, options.model, options.file, as_json=options.json)
    if not options.json:
        total = state.get("bytes_total")
        # The server makes a reference an alias of the model only if it has a quantisation.
        reference = state["model"]
        is_alias = ":" in reference and "@" not in reference and not options.file
        name = reference if is_alias else state["model_id"]
        print(f"{name} is ready{f' ({size(total)})' if total else ''}")
        say(f"talk to it: llamabind chat {name}")
    return 0
