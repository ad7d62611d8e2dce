"""Embeddings by a model that generates text, and what happens where memory is short."""

from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest

from llamabind import load_embedding_engine
from llamabind.errors import ContextCreateError, InputTooLongError, InvalidParameterError
from llamabind.system.host_memory import HostMemory
from server.protocol.load_settings import LoadSettings
from server.protocol.loading import Load, LoadedModel
from server.protocol.messages import RefusalKind
from server.protocol.tasks import Embed, Rank, TaskResult, Vectors
from server.worker.engines import side_embeddings
from server.worker.engines.engine_interface import EngineEvents, WorkerEngine
from server.worker.loading.begin import load_worker_engine
from server.worker.session.refusals import refusal

pytestmark = pytest.mark.native


@pytest.fixture
def engine(random_llama_path: Path) -> Iterator[WorkerEngine]:
    events = EngineEvents(lambda _: None, lambda _: None, lambda _: None)
    load = Load(str(random_llama_path), LoadSettings(n_ctx=2048, threads=1))
    engine = load_worker_engine(load, events)
    yield engine
    engine.close()


def _embed(engine: WorkerEngine, *texts: str) -> np.ndarray:
    future = engine.perform(Embed(inputs=texts))
    assert isinstance(future, Future)
    result: TaskResult = future.result()
    assert isinstance(result, Vectors)
    return np.array([np.frombuffer(raw, "<f4") for raw in result.vectors])


def _set_free(monkeypatch: pytest.MonkeyPatch, n_bytes: int) -> None:
    monkeypatch.setattr(
        side_embeddings, "host_memory", lambda: HostMemory(free=n_bytes, total=1 << 40)
    )


def test_they_equal_those_of_the_model_loaded_for_embeddings(
    engine: WorkerEngine, random_llama_path: Path
) -> None:
    texts = ("The sky is blue.", "Dogs bark.")
    with load_embedding_engine(random_llama_path) as alone:
        expected = alone.embed(texts)
    np.testing.assert_allclose(_embed(engine, *texts), expected, atol=2e-3)


def test_the_memory_of_their_context_is_reported_once_it_is_made(random_llama_path: Path) -> None:
    changes: list[LoadedModel] = []
    events = EngineEvents(lambda _: None, lambda _: None, lambda _: None, changes.append)
    load = Load(str(random_llama_path), LoadSettings(n_ctx=512, threads=1))
    engine = load_worker_engine(load, events)
    try:
        loaded = engine.describe()
        for _ in range(2):
            _embed(engine, "a")
    finally:
        engine.close()
    (changed,) = changes
    assert changed.memory_bytes > loaded.memory_bytes
    assert changed.memory_bytes == sum(device.used_bytes for device in changed.devices)
    assert changed.devices[0].model_bytes == loaded.devices[0].model_bytes
    assert changed.effective == loaded.effective


def test_a_smaller_context_is_made_where_memory_is_short(
    engine: WorkerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = []
    shortage = side_embeddings._shortage

    def find_shortage(report):
        needed.append(report.host.context + report.host.compute)
        if len(needed) == 1:
            _set_free(monkeypatch, needed[0] - 1)
        return shortage(report)

    monkeypatch.setattr(side_embeddings, "_shortage", find_shortage)
    _embed(engine, "a")
    assert len(needed) == 2
    with pytest.raises(InputTooLongError, match="n_ctx of 1024 tokens"):
        _embed(engine, "word " * 1500)


def test_without_memory_the_request_is_refused_for_now(
    engine: WorkerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    _set_free(monkeypatch, 1000)
    with pytest.raises(
        ContextCreateError, match=r"of host memory, of which 0\.0MB is free"
    ) as caught:
        engine.perform(Embed(inputs=("a",)))
    assert refusal("1", caught.value).kind is RefusalKind.BUSY
    monkeypatch.undo()
    assert len(_embed(engine, "a")) == 1


def test_it_cannot_rerank(engine: WorkerEngine) -> None:
    with pytest.raises(InvalidParameterError, match="cannot rerank"):
        engine.perform(Rank(query="a", documents=("b",)))
