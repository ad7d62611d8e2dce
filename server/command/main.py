"""main: runs a subcommand, and turns its errors into a sentence and an exit status.

A subcommand is a module of this folder with `add_flags(parser)`, `run(options) -> exit status`, and
a line of COMMANDS. Only the module of the given command is imported, so that --help is quick, and
commands that need no native library work when it is broken.
"""

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Final

from llamabind import __version__
from llamabind.cli import COMMANDS as LIBRARY_COMMANDS
from llamabind.cli import run as run_library_command
from server.command.client.errors import CommandError
from server.command.parser import Parser
from server.command.terminal.screen import safe

INTERRUPTED: Final = 130  # 128 and SIGINT, as shells have it
_BROKEN_PIPE: Final = 141  # 128 and SIGPIPE

COMMANDS: Final = {
    "serve": "start the server",
    "pull": "download a model from the hub",
    "ls": "list the models",
    "show": "show what a model is, its settings, and the memory that it needs",
    "ps": "list the models in memory, with their memory and requests",
    "load": "load a model into memory, with settings of your choice",
    "unload": "unload a model from memory",
    "rm": "delete a downloaded model",
    "chat": "talk to a model in the terminal",
    "run": "ask a model one question, and print the answer",
    "bench": "measure a model's speed",
    "cluster": "run several replicas of models behind one address",
    **LIBRARY_COMMANDS,
    "completion": "print the completion script of a shell",
}
# The names that other programs give to the same commands.
_ALIASES: Final = {"list": "ls", "remove": "rm", "delete": "rm", "stop": "unload", "start": "serve"}
_EXAMPLES: Final = """
examples:
  llamabind serve                       start the server at http://127.0.0.1:8080
  llamabind pull org/repo:Q4_K_M        download a model
  llamabind chat                        talk to a model; needs no running server
  llamabind run MODEL "a question"      one answer

`llamabind COMMAND --help` explains a command. docs/command.md has an example of each.
exit status: 0 success, 1 failure, 2 wrong usage, 130 after Ctrl-C
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    words = _flags_last(list(sys.argv[1:] if arguments is None else arguments))
    _prepare_streams()
    try:
        status = _run(words)
        sys.stdout.flush()
    except CommandError as error:
        return _fail(str(error), error.exit_status)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of stdout, such as `head`, has ended; Python would report it at its exit again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    except OSError as error:
        return _fail(str(error), 1)
    return status


def _prepare_streams() -> None:
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:  # closed by the shell, as by `<&-`
            setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115 - until the end
        elif mode == "w" and isinstance(stream, io.TextIOWrapper):
            # A character that the locale lacks becomes a question mark instead of an error.
            stream.reconfigure(errors="replace")


def _run(words: list[str]) -> int:
    if words[:1] == ["help"]:
        words = [*words[1:2], "--help"]
    command = _ALIASES.get(words[0], words[0]) if words else ""
    if command in LIBRARY_COMMANDS:
        return run_library_command(command, words[1:])
    if command == "serve":
        return int(import_module("server.command.serve").main(words[1:]))
    if command in COMMANDS:
        run, parser = load_command(command)
        return run(parser.parse_args(words[1:]))
    parser = make_parser()
    options = parser.parse_args(words)
    if options.command is None:
        parser.print_help()
    return 0


def load_command(
    command: str,
) -> tuple[Callable[[argparse.Namespace], int], argparse.ArgumentParser]:
    """The function and the parser of a subcommand."""
    module = import_module(f"server.command.{command}")
    parser = Parser(f"llamabind {command}", module.DESCRIPTION, module.EXAMPLES)
    module.add_flags(parser)
    return module.run, parser


def make_parser() -> argparse.ArgumentParser:
    """The parser of the command line without a subcommand; it lists the subcommands."""
    parser = Parser(
        "llamabind",
        "Run language models on this machine.",
        _EXAMPLES,
        usage="llamabind COMMAND [flags]",
        commands=COMMANDS,
    )
    parser.add_argument("--version", action="version", version=f"llamabind {__version__}")
    commands = parser.add_subparsers(
        title="commands",
        metavar="COMMAND",
        dest="command",
        parser_class=argparse.ArgumentParser,
    )
    for name, help_text in COMMANDS.items():
        commands.add_parser(name, help=help_text, add_help=False)
    return parser


def _flags_last(words: list[str]) -> list[str]:
    """The command line with flags in front of the command moved behind it, as docker takes them:
    `llamabind --url URL ls`.
    """
    index = 0
    while index < len(words) and words[index].split("=")[0] in ("--url", "--api-key-file"):
        index += 1 if "=" in words[index] else 2
    if index == 0 or index >= len(words):
        return words
    return [words[index], *words[:index], *words[index + 1 :]]


def _fail(message: str, status: int) -> int:
    with contextlib.suppress(OSError):  # if stderr is closed, only the status reports the failure
        print(f"llamabind: {safe(message)}", file=sys.stderr)
    return status
