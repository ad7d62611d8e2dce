"""The application with a fake hub, and what tests ask of it."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from pytest_aiohttp.plugin import AiohttpClient

from tests.support.fake_hub import FakeHub
from tests.support.forked_hub import use_forks
from tests.support.hub_files import HubFile, HubRepo
from tests.support.paths import TINY_MODEL
from tests.support.server_app import Client, make_app, pause

TOKEN = "hf_" + "t0ken" * 7
REPO = "fake/tiny-GGUF"
Q4, Q8 = "tiny-Q4_K_M.gguf", "tiny-Q8_0.gguf"
SIZE = 4 << 20


def tiny_repos() -> list[HubRepo]:
    """One repository with two quantisations, one with shards and a projector, one gated, one
    private.
    """
    head = TINY_MODEL.read_bytes()
    return [
        HubRepo(
            REPO,
            {
                "README.md": HubFile(b"# tiny\n"),
                Q4: HubFile(head, SIZE),
                Q8: HubFile(head, SIZE + 1),
            },
            revisions=("main", "v1"),
        ),
        HubRepo(
            "fake/split-GGUF",
            {
                "m-Q4_0-00001-of-00002.gguf": HubFile(head),
                "m-Q4_0-00002-of-00002.gguf": HubFile(head + b"2"),
                "mmproj-m-F16.gguf": HubFile(b"projector"),
            },
        ),
        HubRepo("fake/gated", {Q4: HubFile(head)}, gated=True, tokens=frozenset({TOKEN})),
        HubRepo("fake/private", {Q4: HubFile(head)}, is_private=True, tokens=frozenset({TOKEN})),
    ]


class HubClient:
    """A client of an application whose hub is `hub` and whose cache is `cache`."""

    def __init__(self, client: Client, hub: FakeHub, cache: Path) -> None:
        self.client = client
        self.hub = hub
        self.cache = cache

    async def start(self, model: str, status: int = 202, **more: Any) -> dict[str, Any]:
        """POST a download; the answer must have this status."""
        body = {"model": model, **more}
        response = await self.client.post("/api/v2/downloads", json=body)
        document: dict[str, Any] = await response.json()
        assert response.status == status, document
        return document

    async def error(self, model: str, status: int, **more: Any) -> dict[str, Any]:
        """The error of a download that must be refused with this status."""
        error: dict[str, Any] = (await self.start(model, status, **more))["error"]
        return error

    async def show(self, download: dict[str, Any]) -> dict[str, Any]:
        response = await self.client.get(f"/api/v2/downloads/{download['id']}")
        assert response.status == 200
        document: dict[str, Any] = await response.json()
        return document

    async def cancel(self, download: dict[str, Any], query: str = "") -> dict[str, Any]:
        response = await self.client.delete(f"/api/v2/downloads/{download['id']}{query}")
        assert response.status == 200
        document: dict[str, Any] = await response.json()
        return document

    async def until(
        self, download: dict[str, Any], condition: Callable[[dict[str, Any]], bool]
    ) -> dict[str, Any]:
        """Poll the download until the condition holds."""
        async with asyncio.timeout(60):
            while not condition(found := await self.show(download)):
                assert found["state"] in ("queued", "running"), found
                await pause()
        return found

    async def end(self, download: dict[str, Any]) -> dict[str, Any]:
        """The download after its end."""
        async with asyncio.timeout(60):
            while (found := await self.show(download))["state"] in ("queued", "running"):
                await pause()
        return found

    async def pull(self, model: str, **more: Any) -> dict[str, Any]:
        """Download a model, which must succeed."""
        found = await self.end(await self.start(model, **more))
        assert found["state"] == "completed", found
        return found

    async def ids(self) -> set[str]:
        """The ids of all models."""
        document = await (await self.client.get("/api/v2/models")).json()
        return {model["id"] for model in document["available_models"]}

    def files(self, pattern: str = "*") -> list[Path]:
        """Files of the cache, without locks."""
        found = self.cache.rglob(pattern)
        return sorted(path for path in found if path.is_file() and ".locks" not in path.parts)

    def parts(self) -> list[Path]:
        """The parts of files."""
        return self.files("*.incomplete")


MakeClient = Callable[..., Awaitable[HubClient]]


def hub_client_maker(
    aiohttp_client: AiohttpClient, hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> MakeClient:
    """Makes applications with this hub; each call may have other settings."""
    use_forks(monkeypatch)
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))

    async def make(**settings: Any) -> HubClient:
        cache = settings.setdefault("hub_cache", tmp_path / "cache")
        client = await aiohttp_client(make_app(tmp_path / "models", **settings))
        return HubClient(client, hub, cache)

    return make
