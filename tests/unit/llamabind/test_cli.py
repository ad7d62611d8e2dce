"""The command `llamabind`: one module for each subcommand."""

from __future__ import annotations

import tomllib
from importlib import import_module

import pytest

from llamabind import __version__, cli
from llamabind.cli import COMMANDS, main
from llamabind.cli.doctor import DEFAULT_PORT
from server.config import ServerConfig
from tests.support.paths import ROOT


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_a_module_and_is_listed(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert callable(import_module(f"llamabind.cli.{name.replace('-', '_')}").main)
    with pytest.raises(SystemExit):
        main(["--help"])
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith(f"    {name}") for line in lines)


def test_a_command_gets_its_own_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[list[str]] = []

    class Fake:
        @staticmethod
        def main(arguments: list[str]) -> int:
            taken.append(arguments)
            return 3

    monkeypatch.setattr(cli, "import_module", lambda name: Fake)
    assert main(["doctor", "--json"]) == 3
    assert taken == [["--json"]]


def test_the_help_of_a_command_keeps_the_case_of_abbreviations(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(["rpc-server", "--help"])
    assert "(llama.cpp's RPC)" in " ".join(capsys.readouterr().out.split())


def test_a_mistyped_command_names_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["docter"])
    assert ended.value.code == 2
    assert "doctor" in capsys.readouterr().err


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"llamabind {__version__}\n"


def test_the_package_installs_the_command() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"llamabind": "server.command.__main__:main"}
    assert project["version"] == __version__
    assert f"## [{__version__}]" in (ROOT / "CHANGELOG.md").read_text()


def test_the_doctor_checks_the_servers_own_port() -> None:
    assert ServerConfig().port == DEFAULT_PORT
