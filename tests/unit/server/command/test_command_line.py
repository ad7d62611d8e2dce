"""The command line: help, errors and exit statuses."""

from __future__ import annotations

from importlib import import_module

import pytest

from llamabind.cli import COMMANDS as LIBRARY_COMMANDS
from server.command import main as command
from server.command.client.errors import CommandError, UsageError
from server.command.main import COMMANDS, load_command, main

_WITH_PARSER = [name for name in COMMANDS if name != "serve" and name not in LIBRARY_COMMANDS]


@pytest.fixture(autouse=True)
def _no_server(monkeypatch):
    monkeypatch.setenv("LLAMABIND_URL", "127.0.0.1:1")


def _status(*words: str) -> int:
    try:
        return main(words)
    except SystemExit as ended:
        return int(ended.code or 0)


def test_without_arguments_the_commands_are_listed(capsys):
    assert _status() == 0
    out = capsys.readouterr().out
    assert [
        name for name in COMMANDS if f"\n    {name} " not in out and f"\n    {name}\n" not in out
    ] == []


@pytest.mark.parametrize("name", [*COMMANDS])
def test_every_command_has_help(name, capsys):
    assert _status(name, "--help") == 0
    out = capsys.readouterr().out
    assert out.startswith(f"usage: llamabind {name}")


@pytest.mark.parametrize("name", _WITH_PARSER)
def test_every_command_that_asks_a_server_takes_json_and_an_address(name):
    _, parser = load_command(name)
    text = parser.format_help()
    assert "examples:\n  llamabind " in text
    if name not in ("completion", "cluster"):
        assert "--json" in text
        assert "--url URL" in text
        assert "--api-key-file FILE" in text
    # Other users of the machine can read the arguments of a process.
    assert "--api-key " not in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["lss"], "llamabind: unknown command 'lss'; did you mean `ls`?; see `llamabind --help`"),
        (["ls", "--jsn"], "llamabind ls: unknown flag '--jsn'; did you mean --json?"),
        (["show"], "llamabind show: the following arguments are required: MODEL"),
        (["show", "a", "b"], "llamabind show: unexpected argument 'b'"),
        (["unload"], "llamabind: unload: give the names of models, or --all"),
        (["load", "m", "-c", "x"], "llamabind load: argument -c/--ctx-size/--n-ctx: 'x' is not"),
        (["load", "m", "--yarn-ext-factor", "-2"], "argument --yarn-ext-factor:"),
        (["serve", "--prot", "1"], "llamabind serve: unknown flag --prot; did you mean --port?"),
        (["ls", "--url", "ftp://x"], "llamabind: --url: 'ftp://x' is not an address"),
        (["chat", "./none.gguf"], "llamabind: the model file ./none.gguf does not exist"),
        (["completion", "tcsh"], "argument shell: invalid choice: 'tcsh'"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(words, message, capsys):
    assert _status(*words) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [["ls"], ["ps"], ["show", "m"], ["load", "m"], ["unload", "m"], ["rm", "m"], ["chat"],
     ["bench", "m"], ["pull", "org/repo"]],
)  # fmt: skip
def test_without_a_server_the_error_says_how_to_start_one(words, capsys):
    assert _status(*words) == 1
    err = capsys.readouterr().err
    assert err == (
        "llamabind: cannot reach a server at http://127.0.0.1:1: no server runs there; start one "
        "with `llamabind serve`, or give the address of a running one with --url or LLAMABIND_URL\n"
    )


@pytest.mark.parametrize("words", [["help", "ls"], ["help", "list"], ["list", "--help"]])
def test_help_is_a_command_and_other_names_are_known(words, capsys):
    assert _status(*words) == 0
    assert capsys.readouterr().out.startswith("usage: llamabind ls [TEXT] [flags]")


def test_help_alone_lists_the_commands(capsys):
    assert _status("help") == 0
    assert "\ncommands:\n" in capsys.readouterr().out


def test_an_error_cannot_move_the_cursor(monkeypatch, capsys):
    def fail(_):
        raise CommandError("model '\x1b[2J' does not exist")

    monkeypatch.setattr(command, "_run", fail)
    assert main(["ls"]) == 1
    assert capsys.readouterr().err == "llamabind: model '[2J' does not exist\n"


def test_flags_may_stand_in_front_of_the_command(capsys, monkeypatch):
    monkeypatch.delenv("LLAMABIND_URL")
    assert _status("--url", "127.0.0.1:2", "ls") == 1
    assert "http://127.0.0.1:2" in capsys.readouterr().err
    assert _status("--url=127.0.0.1:3", "ls") == 1
    assert "http://127.0.0.1:3" in capsys.readouterr().err


def test_flags_may_stand_between_arguments():
    _, parser = load_command("run")
    options = parser.parse_args(["m", "--temp", "0", "--", "-5 + 3"])
    assert (options.model, options.prompt) == ("m", ["-5 + 3"])
    options = parser.parse_args(["m", "--temp", "0", "how", "-v", "are", "you?"])
    assert (options.model, options.prompt) == ("m", ["how", "are", "you?"])


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (CommandError("no"), 1),
        (UsageError("no"), 2),
        (KeyboardInterrupt(), 130),
        (OSError(28, "No space left on device"), 1),
    ],
)
def test_errors_become_exit_statuses(error, status, monkeypatch, capsys):
    def fail(_):
        raise error

    monkeypatch.setattr(command, "_run", fail)
    assert main(["ls"]) == status
    err = capsys.readouterr().err
    assert "Traceback" not in err
    assert err.startswith("llamabind: ") or status == 130


def test_a_command_is_a_module():
    for name in _WITH_PARSER:
        module = import_module(f"server.command.{name}")
        assert callable(module.run)
