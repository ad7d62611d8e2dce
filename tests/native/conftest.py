"""Fixtures for tests with the native library: the pinned vocabularies and random models."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from llama_source import llama_cpp_source

from llamabind.context.context import Context
from llamabind.context.params import ContextParams
from llamabind.native.model import Model
from tests.support.random_gguf import write_random_llama, write_random_lora


@pytest.fixture(scope="session")
def vocab_dir() -> Path:
    """The folder of the pinned source with ggml-vocab-*.gguf and their golden data."""
    return llama_cpp_source() / "models"


@pytest.fixture(scope="session")
def random_llama_path(tmp_path_factory: pytest.TempPathFactory, vocab_dir: Path) -> Path:
    """A llama of 2 layers with random weights and llama-spm's 32,000 tokens."""
    path = tmp_path_factory.mktemp("models") / "random-llama.gguf"
    return write_random_llama(path, vocab_dir / "ggml-vocab-llama-spm.gguf")


@pytest.fixture(scope="session")
def random_lora_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter for random_llama_path."""
    return write_random_lora(tmp_path_factory.mktemp("adapters") / "random-lora.gguf")


@pytest.fixture(scope="session")
def random_llama(random_llama_path: Path) -> Iterator[Model]:
    """The loaded random llama; tests must not close it."""
    with Model(random_llama_path) as model:
        yield model


@pytest.fixture
def context(random_llama: Model) -> Iterator[Context]:
    """A unified context of 512 cells and 4 sequences, with one thread."""
    params = ContextParams(
        n_ctx=512, n_batch=128, n_ubatch=64, n_seq_max=4, n_threads=1, n_threads_batch=1
    )
    with Context(random_llama, params) as context:
        yield context


@pytest.fixture
def split_context(random_llama: Model) -> Iterator[Context]:
    """A context with a split KV cache: 256 cells for each of 2 sequences."""
    params = ContextParams(
        n_ctx=512, n_batch=128, n_seq_max=2, n_threads=1, n_threads_batch=1, kv_unified=False
    )
    with Context(random_llama, params) as context:
        yield context
