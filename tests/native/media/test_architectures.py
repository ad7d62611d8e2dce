"""Media in prompts are computed as by a bare context, whatever the model's memory is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from llamabind.context.batch import Batch
from llamabind.context.context import Context
from llamabind.context.params import ContextParams
from llamabind.context.vector_batch import VectorBatch
from llamabind.engine.config import EngineConfig
from llamabind.engine.engine import Engine, load_engine
from llamabind.errors import InvalidBatchError, InvalidParameterError
from llamabind.media.medium import EncodedMedium, MediaVectors, lay_out
from llamabind.native.model import Model
from llamabind.request import GenerationRequest, RequestOutput
from llamabind.sampling.params import SamplingParams
from tests.support.random_architectures import write_random_architecture

pytestmark = pytest.mark.native

N_TOKENS = 10
N_VECTORS = 40
NEAR_TIE = 0.05
"""Kernels round differently for other batch sizes; only logits closer than this may swap."""

GREEDY = SamplingParams(temperature=0, ignore_eos=True)
Part = list[int] | EncodedMedium


@pytest.fixture(scope="module", params=["llama", "gemma3", "mamba", "lfm2"])
def path(request, tmp_path_factory: pytest.TempPathFactory, vocab_dir: Path) -> Path:
    path = tmp_path_factory.mktemp("models") / f"{request.param}.gguf"
    return write_random_architecture(path, vocab_dir / "ggml-vocab-llama-spm.gguf", request.param)


@pytest.fixture(scope="module")
def model(path: Path) -> Iterator[Model]:
    with Model(path) as model:
        yield model


@pytest.fixture(scope="module", params=[True, False], ids=["causal", "both ways"])
def is_causal(request: pytest.FixtureRequest) -> bool:
    return request.param


@pytest.fixture(params=[True, False], ids=["unified", "split"])
def load(request: pytest.FixtureRequest, path: Path) -> Iterator[Callable[..., Engine]]:
    engines: list[Engine] = []

    def load(n_parallel: int = 4) -> Engine:
        config = EngineConfig(
            n_ctx=256 * n_parallel,
            n_parallel=n_parallel,
            n_batch=256,
            n_ubatch=64,
            n_threads=1,
            kv_unified=request.param,
            swa_full=False,
            cache_ram_mib=64,
        )
        engines.append(load_engine(path, config=config))
        return engines[-1]

    yield load
    for engine in engines:
        engine.close()


def _text(seed: int, n: int) -> list[int]:
    return np.random.default_rng(seed).integers(300, 30_000, n).tolist()


def _image(model: Model, seed: int, *, is_causal: bool) -> EncodedMedium:
    random = np.random.default_rng(seed)
    vectors = random.standard_normal((N_VECTORS, model.n_embd_inp)).astype(np.float32)
    return EncodedMedium(bytes([seed]), (MediaVectors(vectors, is_causal),))


def _run(engine: Engine, *prompts: list[Part]) -> list[list[RequestOutput]]:
    outputs: dict[str, list[RequestOutput]] = {}
    for index, parts in enumerate(prompts):
        tokens, media = lay_out(parts)
        request = GenerationRequest(
            request_id=str(index),
            prompt_tokens=tokens,
            media=media,
            max_tokens=N_TOKENS,
            sampling=GREEDY,
        )
        engine.prepare(request)
        engine.add(request)
        outputs[str(index)] = []
    while engine.has_work:
        for output in engine.step():
            outputs[output.request_id].append(output)
    engine.check_idle()
    return list(outputs.values())


def _logits(context: Context, parts: list[Part]) -> np.ndarray:
    """Compute a prompt from the beginning, part by part."""
    context.memory_clear()
    position = 0
    for part in parts:
        if isinstance(part, EncodedMedium):
            [vectors] = part.pieces
            assert isinstance(vectors, MediaVectors)
            batch = VectorBatch(vectors.embeddings, position, 0)
            context.decode_vectors(batch, is_causal=vectors.is_causal)
            position += len(batch)
        else:
            tokens = Batch(len(part))
            tokens.extend(part, position, 0, output_last=True)
            context.decode(tokens)
            position += len(part)
    return context.logits(-1).copy()


def _check(model: Model, parts: list[Part], outputs: list[RequestOutput]) -> None:
    """The answer is the likeliest, token by token, but for near-ties."""
    answer = [token for output in outputs for token in output.token_ids]
    assert len(answer) == N_TOKENS
    *before, last = parts
    assert isinstance(last, list)
    params = ContextParams(n_ctx=256, n_batch=256, n_ubatch=64, n_threads=1, n_threads_batch=1)
    eog = list(model.tokenizer.eog_tokens)
    with Context(model, params) as context:
        for position, token in enumerate(answer):
            logits = _logits(context, [*before, last + answer[:position]])
            logits[eog] = -np.inf
            assert logits.max() - logits[token] < NEAR_TIE, f"differs at {position}"


def test_images_and_texts_together_are_answered_as_alone(
    load: Callable[..., Engine], model: Model, is_causal: bool
) -> None:
    cat, dog = (_image(model, seed, is_causal=is_causal) for seed in (1, 2))
    prompts: list[list[Part]] = [
        [_text(1, 30), cat, _text(2, 9)],
        [_text(1, 30), dog, _text(2, 9)],
        [_text(3, 50)],
        [_text(1, 30), cat, _text(4, 7), dog, _text(5, 5)],
    ]
    for parts, outputs in zip(prompts, _run(load(), *prompts), strict=True):
        _check(model, parts, outputs)


def test_an_image_comes_back_without_being_computed(
    load: Callable[..., Engine], model: Model, is_causal: bool
) -> None:
    """From a retained sequence, or from host memory after another took its place."""
    cat, dog = (_image(model, seed, is_causal=is_causal) for seed in (1, 2))
    engine = load(n_parallel=1)
    first: list[Part] = [_text(1, 30), cat, _text(2, 9)]
    [outputs] = _run(engine, first)
    _check(model, first, outputs)
    answer = [token for output in outputs for token in output.token_ids]
    for index in range(3):
        _run(engine, [_text(10 + index, 30), dog, _text(2, 9)])
    follow_up: list[Part] = [*first[:-1], _text(2, 9) + answer + _text(6, 12)]
    [outputs] = _run(engine, follow_up)
    assert outputs[-1].usage.cached_tokens == 30 + N_VECTORS + 9 + N_TOKENS - 1
    _check(model, follow_up, outputs)


def test_an_image_with_rows_is_refused_where_positions_have_one_dimension(
    load: Callable[..., Engine],
) -> None:
    engine = load()
    vectors = np.zeros((4, engine.model.n_embd_inp), np.float32)
    tokens, media = lay_out([EncodedMedium(b"grid", (MediaVectors(vectors, grid=(2, 2)),)), [5]])
    request = GenerationRequest(request_id="1", prompt_tokens=tokens, media=media)
    with pytest.raises(InvalidParameterError, match="need a model with M-RoPE"):
        engine.prepare(request)
    with pytest.raises(InvalidBatchError, match="model expects 1"):
        engine.context.decode_vectors(VectorBatch(vectors, np.zeros((4, 4), np.int32), 0))
