"""Every flag and variable of llama-server has a row in ours: taken, without effect, or refused."""

import re

import pytest
from llama_source import llama_cpp_source

from server.cli.load_settings import FLAGS
from server.cli.parser import make_parser
from server.cli.unsupported_flags import (
    NO_EFFECT_OPTIONS,
    NO_EFFECT_SWITCHES,
    NOT_SUPPORTED,
    ONE_CHOICE,
)

pytestmark = pytest.mark.native

_ROW = re.compile(r"^\| `(-[^`]*)` \| (.*)$", re.MULTILINE)
_NAME = re.compile(r"(?:^|, )(-{1,2}[\w.-]+)")
_VARIABLE = re.compile(r"\(env: (\w+)\)")


def _rows() -> list[tuple[list[str], str]]:
    readme = (llama_cpp_source() / "tools" / "server" / "README.md").read_text()
    return [(_NAME.findall(names), text) for names, text in _ROW.findall(readme)]


def test_every_flag_of_llama_server_has_a_row() -> None:
    known = {name for action in make_parser()._actions for name in action.option_strings}
    names = [name for row, _ in _rows() for name in row]
    assert len(names) > 400
    assert sorted(set(names) - known) == []


def test_a_flag_that_is_taken_has_all_of_its_names_and_its_variable() -> None:
    names_of = {name: flag for flag in FLAGS for name in (*flag.names, *flag.negative_names)}
    variables = {flag.variable for flag in FLAGS}
    for names, text in _rows():
        taken = [name for name in names if name in names_of]
        if taken:
            foreign = {*NO_EFFECT_SWITCHES, *NO_EFFECT_OPTIONS}
            assert set(names) - set(taken) - foreign == set(), names
            for variable in _VARIABLE.findall(text):
                assert variable in variables, names


def test_a_refused_flag_says_what_to_use_instead() -> None:
    reasons = {**NOT_SUPPORTED, **{name: row[2] for name, row in ONE_CHOICE.items()}}
    for name, reason in reasons.items():
        assert re.search(r"\b(use|put|send)\b", reason), f"{name}: {reason}"
