"""Fixtures of the ABI tests; the probe is compiled once for all of them."""

from pathlib import Path

import pytest
from llama_source import llama_cpp_source

from tests.support.abi_declared import Lines
from tests.support.abi_headers import Header, read_header
from tests.support.abi_probe import Probe, build_probe, header_paths


@pytest.fixture(scope="session")
def llama_source() -> Path:
    return llama_cpp_source()


@pytest.fixture(scope="session")
def headers(llama_source: Path) -> dict[str, Header]:
    return {name: read_header(path) for name, path in header_paths(llama_source).items()}


@pytest.fixture(scope="session")
def probe(llama_source: Path, tmp_path_factory: pytest.TempPathFactory) -> Probe:
    return build_probe(llama_source, tmp_path_factory.mktemp("abi"))


@pytest.fixture(scope="session")
def probed(probe: Probe) -> Lines:
    return probe.layout()
