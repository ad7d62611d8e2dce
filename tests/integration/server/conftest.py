"""Fixtures of most tests of the application; a file that needs other models has its own."""

from pathlib import Path

import pytest
from pytest_aiohttp.plugin import AiohttpClient

from tests.support.gguf_files import write_gguf
from tests.support.server_app import Client, make_app


@pytest.fixture
async def client(aiohttp_client: AiohttpClient, tmp_path: Path) -> Client:
    """The application with one model, "m.gguf", over a scripted engine."""
    write_gguf(tmp_path / "m.gguf")
    return await aiohttp_client(make_app(tmp_path))
