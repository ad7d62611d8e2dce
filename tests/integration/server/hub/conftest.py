"""Fixtures of tests with a fake hub."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_aiohttp.plugin import AiohttpClient

from tests.support.fake_hub import FakeHub
from tests.support.hub_app import HubClient, MakeClient, hub_client_maker, tiny_repos


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub(tiny_repos()) as hub:
        yield hub


@pytest.fixture
def make_client(
    aiohttp_client: AiohttpClient, hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> MakeClient:
    return hub_client_maker(aiohttp_client, hub, tmp_path, monkeypatch)


@pytest.fixture
async def client(make_client: MakeClient) -> HubClient:
    return await make_client()
