"""`llamabind pull` against the API of downloads."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from server.command.main import main
from tests.support.fake_downloads import FakeDownloads, download_state, fake_downloads


@pytest.fixture
def fake(monkeypatch) -> Iterator[FakeDownloads]:
    with fake_downloads() as fake:
        monkeypatch.setenv("LLAMABIND_URL", fake.url)
        yield fake


DONE = download_state(
    state="completed", bytes_done=1000, eta_seconds=None, model_id="org/repo/m-Q4_K_M.gguf"
)


def test_pull_follows_the_download_and_prints_the_models_name(fake, capsys):
    fake.states = [download_state(bytes_done=100), download_state(bytes_done=900), DONE]
    assert main(["pull", "org/repo:Q4_K_M"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "org/repo:Q4_K_M is ready (1000 B)\n"
    assert captured.err == (
        "downloading org/repo:Q4_K_M\ntalk to it: llamabind chat org/repo:Q4_K_M\n"
    )
    assert fake.requests == [
        ("POST", "/api/v2/downloads", {"model": "org/repo:Q4_K_M"}),
        ("GET", "/api/v2/downloads/dl-1?stream=true", None),
    ]


def test_pull_names_a_file_and_prints_json_lines(fake, capsys):
    fake.states = [download_state(bytes_done=100), DONE]
    assert main(["pull", "org/repo", "--file", "a/b.gguf", "--json"]) == 0
    captured = capsys.readouterr()
    states = [json.loads(line) for line in captured.out.splitlines()]
    assert [state["state"] for state in states] == ["queued", "running", "completed"]
    assert captured.err == ""
    assert fake.requests[0][2] == {"model": "org/repo", "file": "a/b.gguf"}


@pytest.mark.parametrize(
    ("last", "message"),
    [
        (
            download_state(state="failed", error={"code": "hub_corrupt", "message": "wrong hash"}),
            "llamabind: org/repo was not downloaded: wrong hash",
        ),
        (
            download_state(state="cancelled"),
            "llamabind: the download of org/repo was paused elsewhere; `llamabind pull org/repo` "
            "continues it",
        ),
    ],
)
def test_a_download_that_fails_is_a_failure(fake, last: dict[str, Any], message: str, capsys):
    fake.states = [last]
    assert main(["pull", "org/repo"]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == message


def test_a_refusal_is_the_servers_sentence(fake, capsys):
    error = {
        "message": "org/repo is gated: accept its terms, then set HF_TOKEN",
        "code": "hub_gated",
    }
    fake.refusal = 403, {"error": error}
    assert main(["pull", "org/repo"]) == 1
    assert capsys.readouterr().err == f"llamabind: {error['message']}\n"


def test_a_stream_that_ends_early_is_a_failure(fake, capsys):
    fake.states = [download_state(bytes_done=10)]
    assert main(["pull", "org/repo"]) == 1
    assert "closed the connection" in capsys.readouterr().err


@pytest.fixture
def takes_ctrl_c() -> Iterator[None]:
    """SIGINT is ignored where the tests run in the background of a script."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("takes_ctrl_c")
def test_ctrl_c_pauses_and_says_how_to_go_on(fake, capsys):
    fake.states, fake.is_slow = [download_state(bytes_done=100)], True
    main_thread = threading.main_thread().ident
    assert main_thread is not None

    def press() -> None:
        fake.streams.wait(60)
        signal.pthread_kill(main_thread, signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    assert main(["pull", "org/repo"]) == 130
    thread.join()
    assert capsys.readouterr().err.splitlines()[-1] == (
        "paused; `llamabind pull org/repo` continues it"
    )
    assert fake.requests[-1] == ("DELETE", "/api/v2/downloads/dl-1", None)
