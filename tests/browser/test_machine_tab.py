"""The tab Machine: figures that move, errors, and programs that work as they are copied."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser.conftest import Open
from tests.support.browser import shown_briefly, until_true
from tests.support.gguf_files import write_gguf
from tests.support.paths import ROOT
from tests.support.program_forks import run_program
from tests.support.scripted_server import ScriptedServer
from tests.support.server_process import TINY, ServerProcess
from tests.support.v2_requests import write_models

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

_KEY = "the key"


def _open(open_page: Open, address: str) -> "Page":
    page = open_page(f"{address}/#/machine").page
    page.get_by_role("heading", name="Machine").wait_for()
    return page


def _address(server: ServerProcess) -> str:
    return f"http://127.0.0.1:{server.port}"


def _figure(page: "Page", title: str) -> str:
    return page.get_by_role("region", name=title, exact=True).locator(".figure").inner_text()


def test_the_figures_of_the_machine_and_of_models_move(
    tiny: ServerProcess, open_page: Open
) -> None:
    page = _open(open_page, _address(tiny))
    page.get_by_role("region", name="CPU", exact=True).wait_for()
    assert re.fullmatch(r"\d+ %", _figure(page, "Memory"))
    tiny.post(
        f"/api/v2/chat/{TINY}", {"messages": [{"role": "user", "content": "Hi"}], "n_predict": 4}
    )
    load = page.get_by_role("region", name=TINY, exact=True)
    load.get_by_text("4 since the start").wait_for()
    # Long answers show as a rate and as KV cells, and end as 0 tokens per second. One may end
    # between two readings of the figures, so the next follows at once.
    page.evaluate(
        """(model) => {
          window.control = new AbortController();
          const body = JSON.stringify({model, n_predict: 1500, ignore_eos: true,
            messages: [{role: "user", content: "Tell me a story"}]});
          const ask = () => fetch("v1/chat/completions", {method: "POST", body,
            signal: window.control.signal, headers: {"Content-Type": "application/json"}})
            .then((response) => response.text()).then(ask, () => {});
          ask(); }""",
        TINY,
    )
    load.get_by_text("1 running").wait_for()
    until_true(
        page, "/^[1-9]/.test(document.querySelector('[aria-label=Generated] .figure').innerText)"
    )
    until_true(
        page, "/^[1-9]/.test(document.querySelector('[aria-label=\"KV cells\"] .figure').innerText)"
    )
    page.evaluate("window.control.abort()")
    load.get_by_text("0 running").wait_for()
    until_true(
        page,
        "document.querySelector('[aria-label=Generated] .figure').innerText === '0.0 tokens/s'",
    )
    # The line has the past: the rate was above 0.
    points = (
        load.get_by_role("region", name="Generated").locator("polyline").get_attribute("points")
    )
    heights = {float(point.split(",")[1]) for point in (points or "").split()}
    assert len(heights) > 1


def test_nothing_is_asked_while_the_tab_is_not_shown(tiny: ServerProcess, open_page: Open) -> None:
    page = _open(open_page, _address(tiny))
    page.get_by_role("region", name="CPU", exact=True).wait_for()
    page.get_by_role("link", name="Models", exact=True).first.click()
    page.get_by_role("heading", name="Models", exact=True).wait_for()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(4500)
    assert [url for url in asked if "metrics" in url] == []


def test_the_last_errors_are_listed_newest_first(tmp_path: Path, open_page: Open) -> None:
    write_models(tmp_path)
    with ScriptedServer(tmp_path) as server:
        page = _open(open_page, server.url)
        page.get_by_text("None since the server started").wait_for()
        page.get_by_text(re.compile(r"running for (less than a minute|\d+ min)")).wait_for()
        for model in ("oom.gguf", "new.gguf"):
            page.evaluate(
                "(model) => fetch(`api/v2/models/${model}/load`, {method: 'POST'})", model
            )
        page.locator(".error-list li").nth(1).wait_for()
        newest, oldest = page.locator(".error-list li").all_inner_texts()
        assert "new.gguf: unsupported_architecture" in newest
        assert "oom.gguf: out_of_memory" in oldest


@pytest.fixture
def keyed(tmp_path: Path) -> Iterator[ScriptedServer]:
    """A server with keys."""
    write_gguf(tmp_path / "m.gguf")
    with ScriptedServer(tmp_path, api_keys=[_KEY]) as server:
        yield server


def _snippet(page: "Page", name: str) -> str:
    """The text that the snippet's button copies."""
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    snippet = page.locator(f'[data-snippet="{name}"]')
    with shown_briefly(page, "Copied"):
        snippet.get_by_role("button").click()
    copied: str = page.evaluate("navigator.clipboard.readText()")
    assert copied == snippet.locator("pre").inner_text()
    return copied


def _environment(key: str) -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin", "LLAMABIND_API_KEY": key}


def _run(command: str, key: str = "") -> str:
    """The output of a command of the shell in a clean environment."""
    done = subprocess.run(
        ["bash", "-c", command],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=_environment(key),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _run_python(source: str, key: str = "") -> str:
    """The output of a Python program in a clean environment."""
    return run_program(source, _environment(key))


def test_the_curl_command_works_as_it_is_copied(tiny: ServerProcess, open_page: Open) -> None:
    command = _snippet(_open(open_page, _address(tiny)), "curl")
    assert '"role":"assistant"' in _run(command)


def test_with_a_key_the_commands_read_it_from_the_environment(
    keyed: ScriptedServer, open_page: Open
) -> None:
    page = open_page(f"{keyed.url}/#/machine").page
    page.get_by_label("API key").fill(_KEY)
    page.keyboard.press("Enter")
    page.get_by_text("export LLAMABIND_API_KEY").wait_for()
    assert _KEY not in page.locator("main").inner_text()
    assert '"role":"assistant"' in _run(_snippet(page, "curl"), _KEY)
    for name in ("openai", "anthropic", "ollama"):
        assert _run_python(_snippet(page, name), _KEY).strip(), name


@pytest.mark.parametrize("name", ["openai", "anthropic", "ollama"])
def test_the_programs_work_as_they_are_copied(
    tiny: ServerProcess, open_page: Open, name: str
) -> None:
    assert _run_python(_snippet(_open(open_page, _address(tiny)), name)).strip()


def test_names_of_models_are_quoted_for_shell_and_python(tmp_path: Path, open_page: Open) -> None:
    hostile = 'it\'s "$(touch pwned)" `x` \\ ü.gguf'
    write_gguf(tmp_path / hostile)
    with ScriptedServer(tmp_path) as server:
        page = _open(open_page, server.url)
        page.get_by_text("touch pwned").first.wait_for()
        assert '"role":"assistant"' in _run(_snippet(page, "curl"))
        for name in ("openai", "ollama"):
            assert _run_python(_snippet(page, name)).strip()
    assert not (ROOT / "pwned").exists()
