"""EmbeddingEngine: pooling equals numpy's, and vectors do not depend on the batch."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from llamabind.context.thread_tuner import ThreadTuner
from llamabind.embedding.config import EmbeddingConfig
from llamabind.embedding.engine import EmbeddingEngine, load_embedding_engine, normalized
from llamabind.errors import (
    EngineStoppedError,
    InputTooLongError,
    InvalidParameterError,
    ModelLoadError,
)
from llamabind.native.model import Model
from tests.support.random_bert import BertShape, write_random_bert

pytestmark = pytest.mark.native

TEXTS = [
    "A cat sits on the mat.",
    "hello",
    "The weather in Paris is mild in spring, and mild again in autumn.",
    "Dogs bark.",
    "",
]
ATOL = 2e-3
MEAN, CLS, RANK = 1, 2, 4


@pytest.fixture(scope="module")
def bert_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("encoders")


@pytest.fixture(scope="module")
def bert_vocab(vocab_dir: Path) -> Path:
    return vocab_dir / "ggml-vocab-bert-bge.gguf"


@pytest.fixture(scope="module")
def bert(bert_dir: Path, bert_vocab: Path) -> Iterator[Model]:
    with Model(write_random_bert(bert_dir / "bert.gguf", bert_vocab, CLS)) as model:
        yield model


@pytest.fixture(scope="module")
def reranker_path(bert_dir: Path, bert_vocab: Path) -> Path:
    path = bert_dir / "reranker.gguf"
    return write_random_bert(path, bert_vocab, RANK, BertShape(n_scores=1))


def _make(model: Model, **fields) -> EmbeddingEngine:
    return EmbeddingEngine(model, EmbeddingConfig(**({"n_threads": 1} | fields)))


def _token_vectors(model: Model, texts: list[str]) -> list[np.ndarray]:
    with _make(model, pooling="none") as engine:
        return engine.embed_tokens(texts)


POOLED = {
    "mean": lambda rows: rows.mean(axis=0),
    "cls": lambda rows: rows[0],
    "last": lambda rows: rows[-1],
}


def _count_threads() -> int:
    """Count this process's threads, without those that only touch the memory of new buffers."""
    tasks = Path("/proc/self/task")
    if not tasks.is_dir():
        return psutil.Process().num_threads()
    return sum((task / "comm").read_text() != "kv settle\n" for task in tasks.iterdir())


def test_compute_threads_are_kept_between_decodes_and_end_with_the_engine(bert):
    n_others = _count_threads()
    with _make(bert, n_threads=3) as engine:
        for text in TEXTS[:3]:
            engine.embed([text])
            assert _count_threads() == n_others + 3, "the engine's own thread computes too"
    assert _count_threads() == n_others


def test_threads_are_tuned_unless_their_number_is_given(bert, monkeypatch):
    chosen = []

    def choose(self: ThreadTuner, n: int) -> int:
        chosen.append(n)
        return 1

    monkeypatch.setattr(ThreadTuner, "choose", choose)
    with _make(bert, n_threads=2) as engine:
        engine.embed(["a cat"])
    assert chosen == []
    with _make(bert, n_threads=None) as engine:
        tokens = engine.tokenize(["a cat", "dogs bark"])
        engine.embed(tokens)
    assert chosen == [sum(len(each) for each in tokens)]


@pytest.mark.parametrize("pooling", POOLED)
@pytest.mark.parametrize("fixture", ["bert", "random_llama"])
def test_pooling_is_that_of_the_token_vectors(fixture, pooling, request):
    model = request.getfixturevalue(fixture)
    texts = TEXTS[:4]
    expected = np.stack([POOLED[pooling](rows) for rows in _token_vectors(model, texts)])
    with _make(model, pooling=pooling) as engine:
        assert engine.pooling == pooling
        vectors = engine.embed(texts, normalize=False)
    assert vectors.shape == (4, model.n_embd)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, expected, atol=ATOL)


@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
def test_batched_vectors_equal_those_computed_alone_and_keep_their_order(bert, pooling):
    with _make(bert, pooling=pooling) as engine:
        together = engine.embed(TEXTS)
        alone = np.concatenate([engine.embed([text]) for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=ATOL)
    distances = np.linalg.norm(together[:, None] - together[None, :], axis=-1)
    assert np.all(distances + np.eye(len(TEXTS)) > 10 * ATOL), "each text has a vector of its own"


def test_several_inputs_share_a_decode(bert, monkeypatch):
    with _make(bert) as engine:
        sizes = []
        runner_type = type(engine._runner)
        original = runner_type.run

        def run(self, chunks):
            sizes.append(len(chunks))
            return original(self, chunks)

        monkeypatch.setattr(runner_type, "run", run)
        engine.embed(["one text"] * 20)
    assert sizes == [20]


def test_vectors_have_length_one_unless_normalize_is_false(bert):
    with _make(bert) as engine:
        vectors = engine.embed(TEXTS)
        raw = engine.embed(TEXTS, normalize=False)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert np.all(np.linalg.norm(raw, axis=1) > 1.1)
    np.testing.assert_allclose(normalized(raw), vectors, atol=1e-5)


def test_a_zero_vector_stays_zero():
    assert not normalized(np.zeros((2, 3), np.float32)).any()


def test_the_models_own_pooling_is_the_default(bert, random_llama):
    with _make(bert) as engine:
        assert engine.pooling == "cls"
    with _make(random_llama) as engine:
        assert engine.pooling == "last"


def test_a_long_input_of_a_causal_model_is_computed_in_parts(random_llama):
    inputs = [[300 + i for i in range(150)], [7, 8, 9], [500 + i for i in range(90)]]
    with _make(random_llama, n_ctx=256, n_ubatch=256) as engine:
        whole = engine.embed(inputs)
    with _make(random_llama, n_ctx=256, n_ubatch=32) as engine:
        assert engine.shape.can_split
        np.testing.assert_allclose(engine.embed(inputs), whole, atol=1e-2)
    with _make(random_llama, n_ctx=256, n_ubatch=32, pooling="none") as engine:
        rows = engine.embed_tokens(inputs, normalize=True)
    assert [len(row) for row in rows] == [150, 3, 90]
    np.testing.assert_allclose(np.stack([row[-1] for row in rows]), whole, atol=1e-2)


def test_an_input_too_long_for_an_encoder_is_refused_with_both_numbers(bert):
    with _make(bert, n_ubatch=16) as engine:
        with pytest.raises(
            InputTooLongError, match="17 tokens is too large for n_ubatch of 16"
        ) as e:
            engine.embed([[101] * 16, [101] * 17])
        assert (e.value.n_prompt_tokens, e.value.n_ctx) == (17, 16)
        assert engine.embed([[101] * 16]).shape == (1, 32)


def test_positions_beyond_the_trained_ones_are_refused(bert):
    with _make(bert, n_ctx=4096, n_ubatch=4096) as engine:
        assert engine.embed([[101] * 128]).shape == (1, 32)
        with pytest.raises(InputTooLongError, match="129 tokens is too large for n_ctx of 128"):
            engine.embed([[101] * 129])


def test_tokens_are_checked_before_native_code_sees_them(bert):
    with _make(bert) as engine:
        for tokens in ([], [-1], [10**6]):
            with pytest.raises(InvalidParameterError, match="input 1"):
                engine.embed(["fine", tokens])


def test_no_inputs_give_no_vectors(bert):
    with _make(bert) as engine:
        assert engine.embed([]).shape == (0, 32)


def test_a_call_that_the_pooling_does_not_allow_names_the_right_one(bert, reranker_path):
    with _make(bert, pooling="none") as engine:
        with pytest.raises(InvalidParameterError, match="embed_tokens"):
            engine.embed(["a"])
        with pytest.raises(InvalidParameterError, match='needs "rank"'):
            engine.rerank("a", ["b"])
    with (
        load_embedding_engine(reranker_path) as engine,
        pytest.raises(InvalidParameterError, match="rerank"),
    ):
        engine.embed(["a"])


def test_callers_on_many_threads_get_their_own_vectors(bert):
    texts = [f"text number {number} of a caller" for number in range(12)]
    with _make(bert) as engine:
        expected = engine.embed(texts)
        vectors: dict[int, np.ndarray] = {}

        def call(number: int) -> None:
            vectors[number] = engine.embed([texts[number]])[0]

        threads = [threading.Thread(target=call, args=(number,)) for number in range(len(texts))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    for number, vector in vectors.items():
        np.testing.assert_allclose(vector, expected[number], atol=ATOL)
    assert len(vectors) == len(texts)


def test_rerank_scores_pairs_of_query_and_document(reranker_path):
    documents = ["Paris is in France.", "Cats purr.", "The capital is Paris."]
    with load_embedding_engine(reranker_path, config=EmbeddingConfig(n_threads=1)) as engine:
        assert (engine.pooling, engine.n_embd) == ("rank", 1)
        scores = engine.rerank("What is the capital?", documents)
        alone = [engine.rerank("What is the capital?", [text])[0] for text in documents]
        tokenizer = engine.model.tokenizer
        [pair] = engine.rerank_inputs("a cat", ["a dog"])
        cls, sep = tokenizer.bos, tokenizer.special.sep
        cat = tokenizer.encode("a cat", add_special=False)
        dog = tokenizer.encode("a dog", add_special=False)
        direct = engine.score([pair])
        assert engine.rerank("a cat", ["a dog"])[0] == pytest.approx(direct[0, 0], abs=1e-5)
    assert scores.shape == (3,)
    np.testing.assert_allclose(scores, alone, atol=ATOL)
    assert len(set(scores.tolist())) == 3
    assert pair[0] == cls
    assert [token for token in pair if token not in (cls, sep)] == cat + dog
    assert pair[1 : 1 + len(cat)] == cat
    assert sep in pair[1 + len(cat) :]


def test_a_rerank_template_is_filled_in_one_pass(bert_dir, bert_vocab):
    path = write_random_bert(
        bert_dir / "template.gguf",
        bert_vocab,
        RANK,
        BertShape(n_scores=2),
        rerank_template="[CLS]query {query} document {document}[SEP]",
    )
    with load_embedding_engine(path, config=EmbeddingConfig(n_threads=1)) as engine:
        encode = engine.model.tokenizer.encode
        [tokens] = engine.rerank_inputs("{document}", ["cats"])
        expected = encode("query {document} document cats", add_special=True)
        assert tokens == expected
        assert engine.score(["a", "b", "c"]).shape == (3, 2)


def test_closing_the_model_closes_the_engine_first(bert_dir, bert_vocab):
    model = Model(write_random_bert(bert_dir / "closed.gguf", bert_vocab))
    engine = EmbeddingEngine(model, EmbeddingConfig(n_threads=1))
    assert engine.pooling == "mean", "the default for an encoder whose file names no pooling"
    future = engine.submit([[101] * 100] * 300)
    model.close()
    assert future.done()
    with pytest.raises(EngineStoppedError):
        engine.submit([[101]])


def test_a_file_that_is_not_a_model_is_refused(tmp_path):
    with pytest.raises(ModelLoadError):
        load_embedding_engine(tmp_path / "missing.gguf")
