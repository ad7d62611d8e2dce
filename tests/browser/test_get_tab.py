"""The tab Get models, on the fake hub: search, download, pause, resume, discard, delete, errors."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.browser.conftest import Open
from tests.support.browser import until_true
from tests.support.fake_hub import FakeHub
from tests.support.held_requests import HeldRequests
from tests.support.hub_faults import Faults
from tests.support.hub_files import HubFile, HubRepo, sample_repos
from tests.support.hub_page import HubPage
from tests.support.models_page import ModelsPage
from tests.support.paths import TINY_MODEL
from tests.support.scripted_server import ScriptedServer
from tests.support.server_process import ServerProcess

pytestmark = pytest.mark.browser

_TINY = "fake/tiny-chat-GGUF"
_FILE = "tiny-chat-Q8_0.gguf"
_NAME = f"{_TINY}:Q8_0"


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub(sample_repos(TINY_MODEL)) as started:
        yield started


@pytest.fixture
def to_hub(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Servers that start now download from the fake hub to this folder."""
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    (tmp_path / "models").mkdir()
    for name in ("LLAMA_CACHE", "HF_HUB_CACHE"):
        monkeypatch.setenv(name, str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def served(to_hub: Path, tmp_path: Path) -> Iterator[str]:
    """The address of a server without models that downloads from the fake hub."""
    with ScriptedServer(tmp_path / "models", hub_cache=str(to_hub)) as server:
        yield server.url


@pytest.fixture
def served_for_real(to_hub: Path, tmp_path: Path) -> Iterator[str]:
    """As `served`, with workers that load what was downloaded."""
    with ServerProcess(tmp_path / "models", "--no-bundled-model") as server:
        yield f"http://127.0.0.1:{server.port}"


def _open(open_page: Open, address: str, repo: str = "") -> HubPage:
    return HubPage(open_page(f"{address}/#/get{repo and '/' + repo.replace('/', '%2F')}").page)


def test_from_words_to_a_loaded_model(served_for_real: str, open_page: Open) -> None:
    get = _open(open_page, served_for_real)
    get.search("tiny chat")
    get.page.get_by_role("button", name=_TINY).click()
    assert "1.1 MB" in get.file(_FILE).inner_text()
    assert "fits" in get.file(_FILE).inner_text()
    assert "default" in get.file("tiny-chat-Q4_K_M.gguf").inner_text()
    get.download(_FILE)
    get.row(_NAME, "completed").wait_for()
    get.file(_FILE).get_by_text("Downloaded").wait_for()
    get.row(_NAME).get_by_role("link", name="Load").click()
    models = ModelsPage(get.page)
    dialog = models.dialog_with_estimate()
    dialog.get_by_role("button", name="Load", exact=True).click()
    dialog.get_by_role("button", name="Done").click()
    models.wait_for_state(f"{_TINY}/{_FILE}", "Loaded")
    # Back on the tab, and after a reload, the download is still listed.
    models.go("Get models")
    get.row(_NAME, "completed").wait_for()
    get.page.reload()
    get.row(_NAME, "completed").wait_for()


def test_a_download_is_paused_and_resumed_where_it_stopped(
    hub: FakeHub, served: str, open_page: Open
) -> None:
    # Half a minute, which is enough to press "Pause" on a busy machine.
    hub.faults = Faults(slow=40_000)
    get = _open(open_page, served, _TINY)
    get.download(_FILE)
    row = get.row(_NAME)
    until_true(get.page, "document.querySelector('.download progress')?.value > 80000")
    row.get_by_text(" left").wait_for()
    get.file(_FILE).get_by_text("%").wait_for()
    row.get_by_role("button", name="Pause").click()
    row.get_by_text("Paused:").wait_for()
    kept = float(row.locator("progress").get_attribute("value") or 0)
    assert kept > 80_000
    hub.faults = Faults()
    row.get_by_role("button", name="Resume").click()
    get.row(_NAME, "completed").wait_for()
    # The second request began behind the part.
    *_, last = hub.files_asked()
    assert last.headers["range"].startswith("bytes=")
    assert int(last.headers["range"].removeprefix("bytes=").rstrip("-")) >= kept
    assert get.page.locator(".download").count() == 1


def test_a_download_is_discarded_after_a_question(
    hub: FakeHub, served: str, open_page: Open, tmp_path: Path
) -> None:
    hub.faults = Faults(slow=50_000)
    get = _open(open_page, served, _TINY)
    get.download(_FILE)
    until_true(get.page, "document.querySelector('.download progress')?.value > 100000")
    get.row(_NAME).get_by_role("button", name="Discard").click()
    dialog = get.page.locator("dialog")
    assert "are deleted" in dialog.inner_text()
    dialog.get_by_role("button", name="Keep it").click()
    assert get.row(_NAME, "running").count() == 1
    get.row(_NAME).get_by_role("button", name="Discard").click()
    dialog.get_by_role("button", name="Discard").click()
    get.row(_NAME).wait_for(state="detached")
    sizes = [path.stat().st_size for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert sum(sizes) < 100_000
    get.file(_FILE).get_by_role("button", name="Download").wait_for()


def test_two_pages_see_one_download(hub: FakeHub, served: str, open_page: Open) -> None:
    hub.faults = Faults(slow=50_000)
    get, other = (_open(open_page, served, _TINY) for _ in range(2))
    get.download(_FILE)
    other.row(_NAME, "running").wait_for()
    other.row(_NAME).get_by_role("button", name="Pause").click()
    get.row(_NAME, "cancelled").wait_for()
    hub.faults = Faults()
    get.row(_NAME).get_by_role("button", name="Resume").click()
    for one in (get, other):
        one.row(_NAME, "completed").wait_for()
        assert one.page.locator(".download").count() == 1


def test_a_download_that_begins_before_the_list_arrives_stays_in_it(
    served: str, open_page: Open
) -> None:
    page = open_page(served).page
    with HeldRequests(page, "**/api/v2/downloads", most=1) as held:
        page.goto(f"{served}/#/get/{_TINY.replace('/', '%2F')}")
        get = HubPage(page)
        held.wait()
        held.answer()
        get.download(_FILE)
        get.row(_NAME, "completed").wait_for()
        with page.expect_response("**/api/v2/downloads"):
            held.release()
    page.evaluate("fetch('live').then((response) => response.text())")
    assert get.row(_NAME, "completed").count() == 1


def test_a_downloaded_model_is_deleted_after_a_question(
    served: str, open_page: Open, tmp_path: Path
) -> None:
    get = _open(open_page, served, _TINY)
    get.download(_FILE)
    get.row(_NAME, "completed").wait_for()
    get.page.get_by_role("navigation").get_by_role("link", name="Models", exact=True).click()
    models = ModelsPage(get.page)
    model = f"{_TINY}/{_FILE}"
    models.row(model).get_by_role("button", name="Delete").click()
    dialog = models.page.locator("dialog")
    assert "1.1 MB" in dialog.inner_text()
    dialog.get_by_role("button", name="Delete", exact=True).click()
    models.row(model).wait_for(state="detached")
    models.page.get_by_text("There is no model yet").wait_for()
    assert not list((tmp_path / "cache").rglob("*.gguf"))
    models.go("Get models")
    get.search(_TINY)
    get.file(_FILE).get_by_role("button", name="Download").wait_for()


def test_a_gated_repository_says_how_to_get_in(served: str, open_page: Open) -> None:
    get = _open(open_page, served)
    get.search("https://huggingface.co/fake/gated-GGUF")
    get.page.get_by_text("gated", exact=True).wait_for()
    get.download("gated-Q4_K_M.gguf")
    notice = get.file("gated-Q4_K_M.gguf").locator(".notice")
    notice.wait_for()
    assert "gated" in notice.inner_text()
    assert "HF_TOKEN" in notice.inner_text()


def test_an_unknown_repository_and_no_result_are_said(served: str, open_page: Open) -> None:
    get = _open(open_page, served)
    get.search("fake/missing")
    get.page.get_by_text("Check the spelling").wait_for()
    get.search("no such words")
    get.page.get_by_text("no GGUF repository that matches").wait_for()


def test_an_address_that_names_no_repository_asks_the_server_nothing(
    served: str, open_page: Open
) -> None:
    page = _open(open_page, served, "../..").page
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    for name in ("../..", "<script>alert(1)</script>/x", "n" * 10_000):
        page.goto("about:blank")
        page.goto(f"{served}/#/get/{quote(name, safe='')}")
        page.get_by_text("is not the name of a repository").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert not [url for url in asked if "/hub/" in url or url.endswith("/api/v2/")]


def test_of_thousands_of_files_the_first_are_shown(
    hub: FakeHub, served: str, open_page: Open
) -> None:
    names = [f"m{number}-Q4_0.gguf" for number in range(3000)]
    hub.repos["fake/many"] = HubRepo("fake/many", dict.fromkeys(names, HubFile(b"one")))
    get = _open(open_page, served, "fake/many")
    get.file("m199-Q4_0.gguf").wait_for()
    assert get.page.locator("tr[data-file]").count() == 200
    get.page.get_by_role("button", name="Show more: 2,800 files left").click()
    get.file("m399-Q4_0.gguf").wait_for()


def test_a_hub_that_does_not_answer_can_be_asked_again(
    hub: FakeHub, served: str, open_page: Open
) -> None:
    hub.faults = Faults(refuse=True)
    get = _open(open_page, served)
    get.search("tiny")
    get.page.get_by_text("cannot be reached").wait_for()
    assert "HF_ENDPOINT" in get.page.locator(".notice").inner_text()
    hub.faults = Faults()
    get.page.get_by_role("button", name="Try again").click()
    get.page.get_by_role("button", name=_TINY).wait_for()


def test_a_damaged_download_says_so_and_can_be_repeated(
    hub: FakeHub, served: str, open_page: Open
) -> None:
    hub.faults = Faults(corrupt=True)
    get = _open(open_page, served, _TINY)
    get.download(_FILE)
    row = get.row(_NAME, "failed")
    row.wait_for()
    assert "wrong checksum" in row.inner_text()
    hub.faults = Faults()
    row.get_by_role("button", name="Try again").click()
    get.row(_NAME, "completed").wait_for()


def test_offline_says_how_to_go_online(tmp_path: Path, open_page: Open) -> None:
    with ScriptedServer(tmp_path, offline=True) as server:
        get = _open(open_page, server.url)
        get.search("tiny")
        get.page.get_by_text("Start it without --offline").wait_for()


def test_without_the_library_the_page_says_what_to_install(tmp_path: Path, open_page: Open) -> None:
    with ScriptedServer(tmp_path, missing=["huggingface_hub"]) as server:
        get = _open(open_page, server.url)
        get.search("tiny")
        get.page.get_by_text("pip install 'huggingface_hub").wait_for()
        assert "start the server again" in get.page.locator(".notice").inner_text()
