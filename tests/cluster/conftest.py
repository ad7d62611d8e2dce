"""One cluster for all tests of this folder: Ray takes long to start."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.client_server import BUNDLED, VECTORS
from tests.support.cluster import ClusterProcess, write_cluster_file
from tests.support.ports import free_port
from tests.support.server_process import TINY

_FOLDER = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark this folder's tests. Ray takes longer for most things than a server does."""
    for item in items:
        if _FOLDER in item.path.parents:
            item.add_marker(pytest.mark.cluster)
            item.add_marker(pytest.mark.timeout(600))


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterProcess]:
    folder = tmp_path_factory.mktemp("cluster")
    for name in (TINY, VECTORS, "pair.gguf", "scale.gguf"):
        shutil.copy(BUNDLED / TINY, folder / name)
    port = free_port()
    with ClusterProcess(write_cluster_file(folder, port, folder), port) as process:
        yield process
