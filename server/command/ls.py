"""`llamabind ls`: the models that the server knows."""

import argparse
import json
import sys
from typing import Any, Final

from llamabind.gguf.names import FILE_TYPES
from server.command.client import paths
from server.command.client.make_client import make_client
from server.command.flags.connection import add_connection_flags
from server.command.terminal.formats import ago, count, size
from server.command.terminal.screen import say, terminal_width
from server.command.terminal.table import format_table

DESCRIPTION: Final = "List the models that the server can load. `ps` lists those in memory."
EXAMPLES: Final = """
examples:
  llamabind ls
  llamabind ls qwen        models whose name contains "qwen"
"""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `ls`."""
    parser.add_argument(
        "text", nargs="?", default="", metavar="TEXT", help="list models whose name contains this"
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="print names only")
    add_connection_flags(parser)


def run(options: argparse.Namespace) -> int:
    """Print the table."""
    document = make_client(options).get(paths.MODELS)
    text = options.text.lower()
    models = [one for one in document["available_models"] if text in _names(one).lower()]
    if options.json:
        print(json.dumps(models, indent=2))
    elif options.quiet:
        for model in models:
            print(short_name(model))
    elif models:
        headings = ("NAME", "SIZE", "TYPE", "PARAMETERS", "QUANTISATION", "STATUS", "MODIFIED")
        rows = [_row(model) for model in models]
        print(
            format_table(
                headings,
                rows,
                width=terminal_width(sys.stdout),
                right=("SIZE", "PARAMETERS"),
                optional=("MODIFIED", "TYPE", "PARAMETERS", "QUANTISATION"),
            )
        )
    else:
        say(
            f"no model's name contains {options.text!r}"
            if text
            else "the server has no models; get one with `llamabind pull org/repo:QUANT`, or put "
            "GGUF files into its models directory"
        )
    return 0


def quantisation(file_type: int | None) -> str:
    """llama.cpp's name of a file type, such as "Q4_K - Medium"; - for None."""
    return "-" if file_type is None else FILE_TYPES.get(file_type, f"type {file_type}")


def short_name(model: dict[str, Any]) -> str:
    """The name by which a model of the hub was pulled, `org/repo:QUANT`; of others the id."""
    aliases: list[str] = model.get("aliases") or []
    return next((one for one in aliases if "/" in one and ":" in one), str(model["id"]))


def _names(model: dict[str, Any]) -> str:
    return "\n".join([model["id"], *(model.get("aliases") or [])])


def _row(model: dict[str, Any]) -> tuple[str, ...]:
    metadata = model["metadata"]
    return (
        short_name(model),
        size(model["size"]),
        metadata["model_type"] or "-",
        count(metadata["parameter_count"]),
        quantisation(metadata["file_type"]),
        model["status"],
        ago(model["modified"]),
    )
