"""Fixtures of most client tests; a file that needs other models or settings has its own."""

from collections.abc import Iterator

import pytest

from tests.support.client_server import client_server
from tests.support.server_process import ServerProcess


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with client_server(tmp_path_factory.mktemp("models")) as process:
        yield process
