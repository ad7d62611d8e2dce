"""`llamabind completion`: the completion script of a shell, made by shtab from the parsers."""

import argparse
from typing import Final

DESCRIPTION: Final = (
    "Print the script by which a shell completes commands, flags and the names of models."
)
EXAMPLES: Final = """
examples:
  llamabind completion bash > ~/.local/share/bash-completion/completions/llamabind
  llamabind completion zsh > "${fpath[1]}/_llamabind"
  llamabind completion fish > ~/.config/fish/completions/llamabind.fish
"""
_SHELLS: Final = ("bash", "zsh", "fish")
# Prints nothing if no server runs.
_MODELS: Final = "llamabind ls --quiet 2>/dev/null"


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `completion`."""
    parser.add_argument("shell", choices=_SHELLS, help="the shell")


def run(options: argparse.Namespace) -> int:
    """Print the script."""
    import shtab

    print(shtab.complete(complete_parser(), options.shell))
    return 0


def complete_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line, with the flags of every subcommand."""
    import shtab

    from llamabind.cli.rpc_server import make_parser as make_rpc_parser
    from server.cli.parser import make_parser as make_server_parser
    from server.command.main import COMMANDS, load_command

    whole = argparse.ArgumentParser(prog="llamabind")
    commands = whole.add_subparsers()
    for name, help_text in COMMANDS.items():
        commands.add_parser(name, help=help_text)
    for name in COMMANDS:
        if name == "serve":
            source: argparse.ArgumentParser = make_server_parser()
        elif name in ("doctor", "report"):
            continue
        elif name == "rpc-server":
            source = make_rpc_parser()
        else:
            _, source = load_command(name)
        commands.choices[name] = source
        for action in source._actions:
            _set_completion(action, shtab.cmd(_MODELS), shtab.FILE)
    return whole


def _set_completion(action: argparse.Action, models: object, file: object) -> None:
    """Let the shell complete the value of a flag or argument: names of models, or files."""
    if action.metavar == "MODEL":
        action.complete = models  # type: ignore[attr-defined]
    elif action.metavar in ("FILE", "DIR", "FOLDER"):
        action.complete = file  # type: ignore[attr-defined]
