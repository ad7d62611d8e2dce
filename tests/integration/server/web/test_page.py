"""The web page as a browser requests it: types, caching, policy, keys, --no-ui and --api-prefix."""

import os
import re
from pathlib import Path

import pytest
from pytest_aiohttp.plugin import AiohttpClient

from server.web.files import web_files
from tests.support.server_app import make_app

_BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
_KEPT = "public, max-age=31536000, immutable"


async def test_a_browser_gets_the_page_and_other_clients_a_line_of_text(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    client = await aiohttp_client(make_app(tmp_path))
    page = await client.get("/", headers=_BROWSER)
    assert (page.status, page.content_type) == (200, "text/html")
    assert "<!doctype html>" in await page.text()
    for accept in ("*/*", "application/json", ""):
        line = await client.get("/", headers={"Accept": accept})
        assert (line.content_type, await line.text()) == ("text/plain", "llamabind is running")
        assert "Accept" in line.headers.getall("Vary")
    head = await client.head("/")
    assert (head.status, await head.read()) == (200, b"")


async def test_nothing_on_the_page_is_inline_or_from_elsewhere(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    client = await aiohttp_client(make_app(tmp_path))
    page = await client.get("/", headers=_BROWSER)
    policy = page.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; ")
    assert "unsafe" not in policy
    text = await page.text()
    assert "://" not in text
    assert re.search(r"\son\w+=|\sstyle=|<style|<script>", text) is None
    for path in re.findall(r'(?:src|href)="(ui/[^"]+)"', text):
        assert (await client.get(f"/{path}")).status == 200, path


async def test_every_module_is_served_as_one_and_imports_only_what_exists(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    client = await aiohttp_client(make_app(tmp_path))
    modules = [name for name in web_files().files if name.endswith(("js", "mjs"))]
    assert len(modules) > 10
    for name in modules:
        answer = await client.get(f"/ui/{name}")
        assert (answer.status, answer.content_type) == (200, "text/javascript"), name
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        imports = re.findall(r"""(?:from|import\()\s*["']([^"']+)["']""", await answer.text())
        if name.startswith("vendor/"):
            assert imports == [], name
        for path in imports:
            assert path.startswith("."), f"{name} imports {path} by bare name"
            assert (await client.get(f"/ui/{Path(name).parent}/{path}")).status == 200, (name, path)


async def test_a_file_that_did_not_change_is_not_sent_again(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    client = await aiohttp_client(make_app(tmp_path))
    for path in ("/", "/ui/app.js"):
        first = await client.get(path, headers=_BROWSER)
        assert first.headers["Cache-Control"] == "no-cache"
        tag = first.headers["ETag"]
        again = await client.get(path, headers=_BROWSER | {"If-None-Match": tag})
        assert (again.status, await again.read(), again.headers["ETag"]) == (304, b"", tag)
        other = await client.get(path, headers=_BROWSER | {"If-None-Match": '"other"'})
        assert (other.status, await other.read()) == (200, await first.read())


async def test_the_page_names_its_files_by_addresses_that_a_browser_keeps(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    client = await aiohttp_client(make_app(tmp_path))
    text = await (await client.get("/", headers=_BROWSER)).text()
    addresses = set(re.findall(r"\bui/[^\s\"]+", text))
    assert len(addresses) > 50
    for address in addresses:
        assert address.startswith(f"ui/{web_files().version}/"), address
        answer = await client.get(f"/{address}")
        assert (answer.status, answer.headers["Cache-Control"]) == (200, _KEPT), address
    # A page of another version of the server gets no modules of this one.
    version = web_files().version
    other = await client.get(f"/ui/{version[::-1]}/app.js")
    assert (other.status, other.headers.get("Cache-Control")) != (200, _KEPT)
    assert other.status == 404


async def test_the_page_lists_every_module_so_that_none_waits_for_another(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    client = await aiohttp_client(make_app(tmp_path))
    text = await (await client.get("/", headers=_BROWSER)).text()
    start = f"ui/{web_files().version}/"
    shell = re.findall(rf'rel="modulepreload" href="{start}([^"]+)"', text)
    assert set(shell) == _needed("app.js")
    tabs = dict(re.findall(r'<meta name="modules-of-(\w+)" content="([^"]+)"', text))
    source = web_files().files["core/tabs.js"].content.decode()
    assert set(tabs) == set(re.findall(r'import\("\.\./(\w+)/tab\.js"\)', source))
    for tab, addresses in tabs.items():
        listed = [address.removeprefix(start) for address in addresses.split()]
        assert len(set(listed)) == len(listed)
        assert set(listed) == _needed(f"{tab}/tab.js") - set(shell)


def _needed(entry: str) -> set[str]:
    """The module and all that it imports, found without the code under test."""
    needed = {entry}
    waiting = [entry]
    while waiting:
        name = waiting.pop()
        text = web_files().files[name].content.decode()
        if name.startswith("vendor/"):
            continue
        for line in text.split(";"):
            if match := re.search(r'^\s*(?:import|export)\b.*"(\.[^"]+)"$', line, re.S | re.M):
                path = os.path.normpath(f"{Path(name).parent}/{match[1]}")
                if path not in needed:
                    needed.add(path)
                    waiting.append(path)
    return needed


@pytest.mark.parametrize(
    "path", ["/ui/none.js", "/ui/../page.py", "/ui/vendor/packages.json", "/ui/%2e%2e/page.py"]
)
async def test_only_the_pages_own_files_are_served(
    aiohttp_client: AiohttpClient, tmp_path: Path, path: str
) -> None:
    client = await aiohttp_client(make_app(tmp_path))
    answer = await client.get(path)
    assert answer.status == 404
    assert (await answer.json())["error"]["code"] == "unknown_path"


async def test_where_keys_are_set_the_pages_files_need_none_and_the_api_does(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    client = await aiohttp_client(make_app(tmp_path, api_keys=("secret",)))
    for path in ("/", "/ui/app.js", "/ui/vendor/htm/standalone.module.js", "/favicon.ico"):
        assert (await client.get(path, headers=_BROWSER)).status == 200
    assert (await client.get("/api/v2/models", headers=_BROWSER)).status == 401
    assert (await client.get("/ui/", headers=_BROWSER)).status == 401


async def test_without_the_page_its_files_do_not_exist(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    client = await aiohttp_client(make_app(tmp_path, ui=False))
    assert await (await client.get("/", headers=_BROWSER)).text() == "llamabind is running"
    assert (await client.get("/ui/app.js")).status == 404
    assert (await client.get("/favicon.ico")).status == 404


async def test_below_a_prefix_the_page_is_a_folder_so_that_its_links_are_relative(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    client = await aiohttp_client(make_app(tmp_path, api_prefix="/llm"))
    moved = await client.get("/llm", headers=_BROWSER, allow_redirects=False)
    assert (moved.status, moved.headers["Location"]) == (302, "llm/")
    page = await client.get("/llm", headers=_BROWSER)
    assert (page.status, page.url.path) == (200, "/llm/")
    assert (await client.get("/llm/ui/app.js")).status == 200
    assert await (await client.get("/llm")).text() == "llamabind is running"


async def test_the_icon_is_an_image(aiohttp_client: AiohttpClient, tmp_path: Path) -> None:
    client = await aiohttp_client(make_app(tmp_path))
    icon = await client.get("/favicon.ico")
    assert (icon.status, icon.content_type) == (200, "image/svg+xml")
