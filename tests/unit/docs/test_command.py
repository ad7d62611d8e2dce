"""docs/command.md and the other pages show the command as it is."""

from __future__ import annotations

import re
import shlex

import pytest

from llamabind.cli import COMMANDS as LIBRARY_COMMANDS
from llamabind.cli.rpc_server import make_parser as make_rpc_parser
from server.command.client.keys import FILE_VARIABLES, VARIABLES
from server.command.main import COMMANDS, load_command
from server.command.talk.commands import help_text
from tests.support.paths import ROOT

PAGE = (ROOT / "docs" / "command.md").read_text()
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def _examples() -> list[tuple[str, str]]:
    """Every command line of the pages that begins with llamabind, without its comment."""
    return [
        (page.name, re.sub(r"\s+# .*", "", line).split("llamabind ", 1)[1])
        for page in PAGES
        for line in re.findall(
            r"^\$ ((?:cat .* \| )?llamabind .*)$", page.read_text(), re.MULTILINE
        )
    ]


def test_every_subcommand_has_a_section_with_an_example():
    sections = PAGE.split("\n## ")[1:]
    described = {section.split("\n")[0] for section in sections if "\n$ " in section}
    assert described == set(COMMANDS)


def test_the_table_names_every_subcommand():
    table = PAGE.split("\n## ")[0]
    assert {name for name in COMMANDS if f"[{name}](#{name})" not in table} == set()


@pytest.mark.parametrize(("page", "line"), _examples())
def test_every_command_line_in_the_docs_parses(page: str, line: str):
    words = shlex.split(line.split(" > ")[0])
    assert words[0] in COMMANDS, page
    if words[0] in ("serve", "doctor", "report"):
        return
    parser = make_rpc_parser() if words[0] == "rpc-server" else load_command(words[0])[1]
    parser.parse_args(words[1:])


def test_the_examples_of_help_parse():
    for name in COMMANDS:
        if name == "serve" or name in LIBRARY_COMMANDS:
            continue
        _, parser = load_command(name)
        lines = re.findall(r"^  (?:cat .* \| )?llamabind (.*)$", parser.epilog or "", re.MULTILINE)
        assert lines, name
        for line in lines:
            words = shlex.split(re.split(r"\s{3,}| > ", line)[0])
            assert words[0] == name
            parser.parse_args(words[1:])


def test_every_command_of_a_chat_is_described():
    commands = re.findall(r"^  (/\w+)", help_text(), re.MULTILINE)
    assert len(commands) > 8
    assert {name for name in commands if f"`{name}" not in PAGE} == set()


def test_every_variable_is_described():
    assert {name for name in (*VARIABLES, *FILE_VARIABLES) if name not in PAGE} == set()
