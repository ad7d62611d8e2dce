"""Input on which native code would abort, or that it would free twice, never reaches it."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from llamabind.chat.template import ChatTemplate
from llamabind.context.batch import Batch
from llamabind.context.context import Context
from llamabind.context.params import ContextParams
from llamabind.embedding.engine import load_embedding_engine
from llamabind.engine.config import EngineConfig
from llamabind.engine.engine import load_engine
from llamabind.errors import ChatTemplateError, InvalidBatchError, PromptTooLongError
from llamabind.native.model import Model
from llamabind.request import FinishReason
from tests.support.engine_runs import make_request, run, tokens_of
from tests.support.random_bert import write_random_bert
from tests.support.random_gpt2 import N_CTX_TRAIN, write_random_gpt2

pytestmark = pytest.mark.native


@pytest.fixture(scope="module")
def gpt2_path(tmp_path_factory: pytest.TempPathFactory, vocab_dir: Path) -> Path:
    path = tmp_path_factory.mktemp("models") / "random-gpt2.gguf"
    return write_random_gpt2(path, vocab_dir / "ggml-vocab-gpt-2.gguf")


def test_a_model_with_learned_positions_ends_an_answer_at_the_last_of_them(gpt2_path):
    config = EngineConfig(n_ctx=512, n_parallel=2, n_threads=1)
    with load_engine(gpt2_path, config=config) as engine:
        assert engine.shape.n_ctx == N_CTX_TRAIN
        assert engine.shape.n_cells == 512, "the pool may be larger, since requests share it"
        with pytest.raises(PromptTooLongError):
            engine.prepare(make_request("long", range(1, N_CTX_TRAIN + 1)))
        requests = [make_request(f"r{i}", range(1 + i, 41 + i), None) for i in range(4)]
        outputs = run(engine, *requests)
    for request in requests:
        last = outputs[request.request_id][-1]
        assert last.finish_reason is FinishReason.LENGTH
        assert len(tokens_of(outputs[request.request_id])) == N_CTX_TRAIN - 40


def test_a_context_refuses_a_position_that_was_not_learned(gpt2_path):
    params = ContextParams(n_ctx=256, n_batch=64, n_threads=1, n_threads_batch=1)
    with Model(gpt2_path) as model, Context(model, params) as context, Batch(64) as batch:
        batch.extend([1] * N_CTX_TRAIN, 0, 0, output_last=True)
        context.decode(batch)
        batch.clear()
        batch.add(1, N_CTX_TRAIN, 0, output=True)
        with pytest.raises(InvalidBatchError, match="no position beyond 47"):
            context.decode(batch)


def test_two_threads_that_close_an_embedding_engine_free_it_once(tmp_path, vocab_dir):
    path = write_random_bert(tmp_path / "bert.gguf", vocab_dir / "ggml-vocab-bert-bge.gguf")
    for _ in range(5):
        engine = load_embedding_engine(path)
        future = engine.submit([[1, 2, 3]] * 8)
        barrier = threading.Barrier(2)

        def close(engine=engine, barrier=barrier) -> None:
            barrier.wait()
            engine.close()

        threads = [threading.Thread(target=close) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert future.done()
        assert engine.model.is_closed


def test_a_template_with_a_nul_is_refused_instead_of_being_cut(random_llama):
    with pytest.raises(ChatTemplateError, match="NUL"):
        ChatTemplate(random_llama, "{{ messages[0].content }}\0{{ 'never' }}")
