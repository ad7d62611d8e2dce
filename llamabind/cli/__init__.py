"""The subcommands of `llamabind` that need no server: one module for each.

`python -m llamabind` has only these; the command `llamabind` (server/command) takes them from here.

A subcommand is a module of this folder with `main(arguments) -> exit status`, and a line of
COMMANDS. Only the module of the command that was given is imported, so that --help is quick and
needs no native library.
"""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Final

from llamabind import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS: Final = {
    "doctor": "check this installation and machine, and say what to do",
    "rpc-server": "lend this machine's devices to models on other machines (llama.cpp's RPC)",
    "report": "print versions, native libraries and devices, as needed for a bug report",
}


def sentence(command: str) -> str:
    """What a subcommand does, as a sentence; str.capitalize would also write "rpc" for "RPC"."""
    text = COMMANDS[command]
    return f"{text[0].upper()}{text[1:]}."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the subcommand, or print the bug report where there is none; returns the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words and words[0] in COMMANDS:
        return run(words[0], words[1:])
    options = _parser().parse_args(words)
    from llamabind.cli import report

    return report.print_report(as_json=options.json, devices_only=options.devices)


def run(command: str, arguments: Sequence[str]) -> int:
    """Run one of COMMANDS; returns the exit status."""
    module = import_module(f"llamabind.cli.{command.replace('-', '_')}")
    return int(module.main(arguments))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m llamabind",
        description="Without a command: print versions, native libraries and devices, as needed "
        "for a bug report.",
        epilog="`python -m llamabind COMMAND --help` shows the flags of a command; `llamabind "
        "--help` lists the commands that talk to a server.",
    )
    parser.add_argument("--version", action="version", version=f"llamabind {__version__}")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--devices", action="store_true", help="print the devices only")
    # Listed in the help and in the error for a mistyped name; main() has taken the known ones.
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for name, help_text in COMMANDS.items():
        commands.add_parser(name, help=help_text, add_help=False)
    return parser
