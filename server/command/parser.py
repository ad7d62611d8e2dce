"""Parser: the argument parser of the command and of its subcommands."""

import argparse
import difflib
import shutil
import textwrap
from collections.abc import Collection, Sequence
from typing import Any, Final, NoReturn

_MAX_WIDTH: Final = 100
_REPEATS: Final = {"?": "[{0}]", "*": "[{0} ...]", "+": "{0} [{0} ...]"}


class Parser(argparse.ArgumentParser):
    """Errors are one line; a mistyped command or flag names the nearest known one."""

    def __init__(
        self,
        prog: str,
        description: str,
        examples: str,
        *,
        usage: str | None = None,
        commands: Collection[str] = (),
    ) -> None:
        """`commands` are the names of the subcommands, of which `command` is one."""
        super().__init__(
            prog=prog,
            usage=usage,
            description="\n".join(textwrap.wrap(description, _width())),
            epilog=examples.strip("\n"),
            formatter_class=_Formatter,
            allow_abbrev=False,
        )
        self._commands = commands
        self._positionals.title = "arguments"
        self._optionals.title = "flags"

    def error(self, message: str) -> NoReturn:
        """Exit with status 2."""
        self.exit(2, f"{self.prog}: {message}; see `{self.prog} --help`\n")

    def _check_value(self, action: argparse.Action, value: object) -> None:
        if action.dest == "command" and value not in self._commands:
            near = difflib.get_close_matches(str(value), self._commands, n=1)
            hint = f"; did you mean `{near[0]}`?" if near else ""
            self.error(f"unknown command {value!r}{hint}")
        super()._check_value(action, value)

    def parse_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> argparse.Namespace:
        """As argparse's, but flags may stand between positional arguments, and an unknown flag
        names the nearest one.
        """
        # argparse refuses to mix in a parser with subcommands.
        parse = self.parse_known_args if self._subparsers else self.parse_known_intermixed_args
        options, extra = parse(args, namespace)
        if extra:
            known = [name for action in self._actions for name in action.option_strings]
            name = extra[0].partition("=")[0]
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.7)
            hint = f"; did you mean {near[0]}?" if near else ""
            kind = "unknown flag" if name.startswith("-") else "unexpected argument"
            self.error(f"{kind} {extra[0]!r}{hint}")
        return options


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """At most 100 columns wide; the usage names the arguments, as the flags are listed below it."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=26, width=_width())

    def add_usage(self, usage: Any, actions: Any, groups: Any, prefix: str | None = None) -> None:
        if usage is None:
            words = [_REPEATS.get(one.nargs, "{0}").format(one.metavar or one.dest)
                     for one in actions if not one.option_strings]  # fmt: skip
            usage = " ".join(["%(prog)s", *words, "[flags]"])
        super().add_usage(usage, (), groups, prefix)


def _width() -> int:
    return min(_MAX_WIDTH, shutil.get_terminal_size().columns - 2)
