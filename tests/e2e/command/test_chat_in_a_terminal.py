"""`llamabind chat` as a person has it: a terminal, keys, Ctrl-C, and a server of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.client_server import n_cancelled
from tests.support.paths import ROOT, TINY_MODEL
from tests.support.server_process import TINY, ServerProcess, is_gone, until
from tests.support.terminal import CTRL_C, CTRL_D, Terminal, command, command_environment

pytestmark = pytest.mark.e2e

PARIS = "The capital of France is Paris."
QUESTION = "What is the capital of France?"
PROMPT = ">>> "
# Without an end: the model's context shifts.
STORY = ("/set n_predict 100000", "/set ignore_eos on")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("models")) as process:
        process.post(f"/api/v2/models/{TINY}/load", {"threads": 1, "context_shift": True})
        yield process


@pytest.fixture
def chat(server: ServerProcess, tmp_path: Path) -> Iterator[Terminal]:
    url = f"http://127.0.0.1:{server.port}"
    environment = command_environment(tmp_path, LLAMABIND_URL=url)
    with Terminal(*command("chat", "--temp", "0"), environment=environment) as terminal:
        terminal.expect("/help lists the commands")
        terminal.expect(PROMPT)
        yield terminal


def _ask(terminal: Terminal, line: str) -> str:
    terminal.enter(line)
    return terminal.expect(PROMPT)


def test_questions_are_answered_and_ctrl_d_leaves(chat: Terminal):
    assert PARIS in _ask(chat, QUESTION)
    assert "Madrid" in _ask(chat, "What is the capital of Spain?")
    chat.type(CTRL_D)
    assert chat.wait() == 0


def test_ctrl_c_stops_the_answer_and_not_the_program(chat: Terminal, server: ServerProcess):
    before = n_cancelled(server)
    for line in STORY:
        _ask(chat, line)
    chat.enter("Tell me a story")
    chat.expect("Once upon")
    chat.type(CTRL_C)
    chat.expect("(stopped)")
    chat.expect(PROMPT)
    until(lambda: server.engine()["running"] == 0, "the engine stopped the answer")
    until(lambda: n_cancelled(server) == before + 1, "one request was cancelled")
    _ask(chat, "/unset ignore_eos")
    _ask(chat, "/clear")
    assert PARIS in _ask(chat, QUESTION)


def test_two_ctrl_c_at_the_prompt_leave(chat: Terminal):
    chat.type(CTRL_C)
    chat.expect("Ctrl-C again")
    chat.expect(PROMPT)
    chat.type(CTRL_C)
    assert chat.wait() == 130


def test_the_history_comes_back_in_the_next_chat(server: ServerProcess, tmp_path: Path):
    url = f"http://127.0.0.1:{server.port}"
    environment = command_environment(tmp_path, LLAMABIND_URL=url)
    for keys in (QUESTION, "\x1b[A\x1b[A"):  # the key for the line before, past /bye
        with Terminal(*command("chat", "--temp", "0"), environment=environment) as terminal:
            terminal.expect(PROMPT)
            assert PARIS in _ask(terminal, keys)
            terminal.enter("/bye")
            assert terminal.wait() == 0


def test_tab_completes_commands(chat: Terminal):
    chat.type("/syst\tBe brief\r")
    chat.expect("the system prompt is set")
    chat.expect(PROMPT)


def test_a_line_is_in_the_history_before_the_chat_ends(chat: Terminal, tmp_path: Path):
    _ask(chat, QUESTION)
    chat.enter("")
    chat.expect(PROMPT)
    assert (tmp_path / "llamabind" / "chat_history").read_text().splitlines() == [QUESTION]


def test_several_lines_between_quotes(chat: Terminal):
    chat.enter('"""What is the capital')
    chat.expect("... ")
    chat.enter('of France?"""')
    assert "Paris" in chat.expect(PROMPT)


def test_without_a_server_it_starts_one_that_ends_with_it(tmp_path: Path):
    with Terminal(
        *command("chat", "--temp", "0"), environment=command_environment(tmp_path)
    ) as one:
        one.expect("no server runs at http://127.0.0.1:1; starting one for this command")
        one.expect(PROMPT)
        children = psutil.Process(one.process.pid).children(recursive=True)
        assert len(children) >= 2  # the server and its worker
        assert PARIS in _ask(one, QUESTION)
        # Ctrl-C is for the answer: the server goes on.
        one.type(CTRL_C)
        one.expect(PROMPT)
        assert "Madrid" in _ask(one, "What is the capital of Spain?")
        one.type(CTRL_D)
        assert one.wait() == 0
    until(lambda: all(is_gone(child.pid) for child in children), "the server ended")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP, signal.SIGTERM])
def test_its_server_ends_when_it_is_killed(number: signal.Signals, tmp_path: Path):
    environment = command_environment(tmp_path, TMPDIR=str(tmp_path))
    with Terminal(*command("chat", str(TINY_MODEL)), environment=environment) as terminal:
        terminal.expect(PROMPT)
        children = psutil.Process(terminal.process.pid).children(recursive=True)
        assert len(children) >= 2
        os.kill(terminal.process.pid, number)
        terminal.process.wait(60)
        until(lambda: all(is_gone(child.pid) for child in children), "the server ended")
    assert list(tmp_path.glob("llamabind-*/server.sock")) == []


def _run(
    tmp_path: Path, *words: str, given: str = "", **more: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command(*words)],
        input=given,
        cwd=ROOT,
        env={**os.environ, **command_environment(tmp_path, **more)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_run_answers_once_from_a_file_without_a_server(tmp_path: Path):
    done = _run(tmp_path, "run", str(TINY_MODEL), "--temp", "0", QUESTION)
    assert (done.returncode, done.stdout) == (0, f"{PARIS}\n")
    assert done.stderr == f"starting a server of {TINY_MODEL} for this command\n"


def test_run_follows_a_schema(server: ServerProcess, tmp_path: Path):
    schema = tmp_path / "schema.json"
    schema.write_text('{"enum": ["red", "blue"]}')
    url = f"http://127.0.0.1:{server.port}"
    done = _run(
        tmp_path, "run", TINY, "--schema", str(schema), given="Name a colour", LLAMABIND_URL=url
    )
    assert done.stdout in ('"red"\n', '"blue"\n')


def test_a_key_of_another_server_does_not_lock_its_own(tmp_path: Path):
    keys = {"LLAMABIND_API_KEY": "mine", "LLAMA_API_KEY": "of-server"}
    done = _run(tmp_path, "run", str(TINY_MODEL), "--temp", "0", QUESTION, **keys)
    assert (done.returncode, done.stdout) == (0, f"{PARIS}\n")


def test_a_server_that_cannot_start_says_why(tmp_path: Path):
    done = _run(tmp_path, "run", TINY, QUESTION, LLAMA_ARG_CTX_SIZE="many")
    assert done.returncode == 1
    assert "could not start a server: " in done.stderr
    assert "'many' is not a whole number" in done.stderr


def test_bench_measures_every_number_of_sequences(server: ServerProcess, tmp_path: Path):
    url = f"http://127.0.0.1:{server.port}"
    words = ("bench", TINY, "--sequences", "1,2", "--prompt-tokens", "32", "--generate-tokens", "8")
    done = _run(tmp_path, *words, LLAMABIND_URL=url)
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    assert rows[0][0] == "SEQUENCES"
    assert [row[0] for row in rows[1:3]] == ["1", "2"]
    assert all(float(number) > 0 for row in rows[1:3] for number in row[1:4])
    assert "memory: CPU " in done.stdout
