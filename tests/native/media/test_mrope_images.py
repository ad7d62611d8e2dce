"""Pictures for models with M-RoPE: cells and positions are counted apart, and as libmtmd does."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llamabind._capi import mtmd
from llamabind._capi.handles import BitmapPtr
from llamabind.context.batch import Batch
from llamabind.context.context import Context
from llamabind.context.params import ContextParams
from llamabind.context.vector_batch import VectorBatch
from llamabind.engine.config import EngineConfig
from llamabind.engine.engine import Engine, load_engine
from llamabind.errors import InvalidBatchError, InvalidParameterError
from llamabind.media.medium import EncodedMedium, MediaVectors, lay_out
from llamabind.media.positions import count_positions
from llamabind.media.projector import Projector
from llamabind.native.model import Model
from llamabind.request import GenerationRequest, RequestOutput
from llamabind.sampling.params import SamplingParams
from llamabind.scheduling.checkpoint_planner import TAIL
from tests.support.engine_runs import log_softmax, make_request, run, submit, tokens_of
from tests.support.media_runs import logprobs_of_helper
from tests.support.png_file import png
from tests.support.random_architectures import write_random_architecture
from tests.support.random_clip import QWEN_SQUARE, write_random_clip, write_random_qwen2vl_clip
from tests.support.random_whisper import write_random_whisper

pytestmark = pytest.mark.native

BEFORE, AFTER = "What is on this picture: ", "? Answer in one word."
GREEDY = SamplingParams(temperature=0, ignore_eos=True)
K = 20
NEAR_TIE = 0.05
"""Kernels round differently for other batch sizes; only logits closer than this may swap."""

ROUNDING = 0.02


@pytest.fixture(scope="module", params=["qwen2vl", "qwen3vl", "qwen35"])
def path(request, tmp_path_factory: pytest.TempPathFactory, vocab_dir: Path) -> Path:
    """Of the last one the memory cannot be cut."""
    path = tmp_path_factory.mktemp("models") / f"{request.param}.gguf"
    return write_random_architecture(path, vocab_dir / "ggml-vocab-llama-spm.gguf", request.param)


@pytest.fixture(scope="module")
def model(path: Path) -> Iterator[Model]:
    with Model(path) as model:
        yield model


@pytest.fixture(scope="module")
def projector(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Projector]:
    mmproj = tmp_path_factory.mktemp("clip") / "mmproj.gguf"
    write_random_qwen2vl_clip(mmproj, model.n_embd_inp)
    with Projector(model, mmproj, use_gpu=False, n_threads=1) as projector:
        yield projector


@pytest.fixture(params=[True, False], ids=["unified", "split"])
def engine(request: pytest.FixtureRequest, path: Path) -> Iterator[Engine]:
    with _load(path, kv_unified=request.param) as engine:
        yield engine


def _load(path: Path, **fields) -> Engine:
    config: dict[str, Any] = {"n_ctx": 1024, "n_parallel": 4, "n_ubatch": 64, "n_batch": 64}
    config |= {"cache_ram_mib": 64}
    config |= {"n_threads": 1, "speculative": "off", **fields}
    return load_engine(path, config=EngineConfig(**config))


def _pixels(seed: int, n_x: int = 6, n_y: int = 4) -> np.ndarray:
    """An image of n_x * n_y vectors."""
    size = (n_y * QWEN_SQUARE, n_x * QWEN_SQUARE, 3)
    return np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)


def _bitmap(pixels: np.ndarray) -> BitmapPtr:
    height, width, _ = pixels.shape
    found = mtmd.mtmd_bitmap_init(width, height, pixels.tobytes())
    assert found
    return found


def _prompt(model: Model, *media: EncodedMedium, after: str = AFTER) -> list:
    encode = model.tokenizer.encode
    between = encode(" or ", add_special=False)
    images = [part for medium in media for part in (medium, between)][:-1]
    return [encode(BEFORE), *images, encode(after, add_special=False)]


def _question(request_id: str, parts: list, **fields) -> GenerationRequest:
    tokens, media = lay_out(parts)
    return make_request(request_id, tokens, media=media, sampling=GREEDY, logprobs=K, **fields)


def _n_never_cached(engine: Engine) -> int:
    """Of a prompt that was here before the end is computed again: its logits are needed."""
    return 1 if engine.shape.is_cuttable else TAIL


def _grids(medium: EncodedMedium) -> list:
    return [piece.grid for piece in medium.pieces if isinstance(piece, MediaVectors)]


def _logits(context: Context, parts: list) -> np.ndarray:
    """Compute a prompt from the beginning with positions of our own counting."""
    context.memory_clear()
    position = 0
    pieces = [
        piece
        for part in parts
        for piece in (part.pieces if isinstance(part, EncodedMedium) else [part])
    ]
    for piece in pieces:
        if not isinstance(piece, MediaVectors):
            batch = Batch(len(piece))
            batch.extend(list(piece), position, 0, output_last=True)
            context.decode(batch)
            position += len(piece)
            continue
        assert piece.grid is not None
        n_x, n_y = piece.grid
        rows, columns = np.divmod(np.arange(n_x * n_y), n_x)
        places = position + np.stack([0 * rows, rows, columns, 0 * rows])
        places[3] = 0
        context.decode_vectors(VectorBatch(piece.embeddings, places.astype(np.int32), 0))
        position += max(n_x, n_y)
    return context.logits(-1).copy()


def _check(model: Model, parts: list, outputs: list[RequestOutput]) -> None:
    """The answer is the likeliest, but for near-ties, and so are the reported log-probabilities."""
    answer = tokens_of(outputs)
    reported = [logprob for output in outputs for logprob in output.logprobs]
    assert len(answer) == 12
    *before, last = parts
    params = ContextParams(n_ctx=512, n_batch=256, n_threads=1, n_threads_batch=1)
    eog = list(model.tokenizer.eog_tokens)
    with Context(model, params) as context:
        for place, token in enumerate(answer):
            logits = _logits(context, [*before, last + answer[:place]])
            expected = log_softmax(logits)
            for other, value in reported[place].top:
                assert value == pytest.approx(expected[other], abs=ROUNDING), place
            logits[eog] = -np.inf
            assert logits.max() - logits[token] < NEAR_TIE, f"differs at {place}"


@pytest.mark.parametrize("sizes", [[(6, 4)], [(3, 5)], [(12, 9), (3, 5)]])
def test_images_are_read_as_by_libmtmd_itself(
    engine: Engine, model: Model, projector: Projector, sizes: list
) -> None:
    """The largest image is more than one batch."""
    pixels = [_pixels(seed, *size) for seed, size in enumerate(sizes)]
    expected = logprobs_of_helper(model, projector, BEFORE, list(map(_bitmap, pixels)), AFTER)
    media = [projector.encode_image(image) for image in pixels]
    assert [_grids(medium) for medium in media] == [[size] for size in sizes]
    [logprob] = run(engine, _question("q", _prompt(model, *media), max_tokens=1))["q"][-1].logprobs
    assert len(logprob.top) == K
    for token, value in logprob.top:
        assert value == pytest.approx(expected[token], abs=2e-3)


def test_what_stands_where_decides_the_answer(model: Model, projector: Projector) -> None:
    """So that the other tests would notice wrong positions."""
    image = projector.encode_image(_pixels(1))

    def with_grid(grid: tuple[int, int]) -> EncodedMedium:
        return EncodedMedium(
            b"other",
            tuple(
                MediaVectors(piece.embeddings, grid=grid)
                if isinstance(piece, MediaVectors)
                else piece
                for piece in image.pieces
            ),
        )

    params = ContextParams(n_ctx=512, n_threads=1, n_threads_batch=1)
    with Context(model, params) as context:
        right = _logits(context, _prompt(model, image))
        for grid in [(4, 6), (24, 1), (12, 2)]:
            wrong = _logits(context, _prompt(model, with_grid(grid)))
            assert np.abs(right - wrong).max() > 5 * ROUNDING, grid


def test_texts_and_images_together_are_answered_as_alone(
    engine: Engine, model: Model, projector: Projector
) -> None:
    cat, dog = projector.encode_image(_pixels(1)), projector.encode_image(_pixels(2, 12, 9))
    prompts = {
        "cat": _prompt(model, cat),
        "dog": _prompt(model, dog),
        "both": _prompt(model, cat, dog, after=AFTER + " Say more."),
        "text": [model.tokenizer.encode("Once upon a time there was a")],
    }
    outputs = run(engine, *(_question(name, parts) for name, parts in prompts.items()))
    for name, parts in prompts.items():
        _check(model, parts, outputs[name])


def test_the_same_image_reuses_its_cells_and_another_does_not(
    engine: Engine, model: Model, projector: Projector
) -> None:
    dog, cat = (projector.encode_image(_pixels(seed)) for seed in (11, 12))
    begin = dog.pieces[0]
    assert isinstance(begin, tuple)
    n_before = len(model.tokenizer.encode(BEFORE)) + len(begin)
    n_question = len(model.tokenizer.encode(AFTER, add_special=False))
    parts = _prompt(model, dog)
    first = run(engine, _question("first", parts))["first"]
    n_prompt = first[-1].usage.prompt_tokens
    again = run(engine, _question("again", _prompt(model, projector.encode_image(_pixels(11)))))
    assert again["again"][-1].usage.cached_tokens == n_prompt - _n_never_cached(engine)
    assert tokens_of(again["again"]) == tokens_of(first)
    # Cut after the image, copied or taken over.
    other_end = _prompt(model, dog, after=" Hm. What else is there to see?")
    more = run(engine, _question("more", other_end), _question("last", parts))
    if engine.shape.is_cuttable:
        assert more["more"][-1].usage.cached_tokens >= n_prompt - n_question
    _check(model, other_end, more["more"])
    _check(model, parts, more["last"])
    other = run(engine, _question("other", _prompt(model, cat)))["other"]
    assert other[-1].usage.cached_tokens <= n_before
    _check(model, _prompt(model, cat), other)


@pytest.mark.parametrize("is_evicted", [True, False])
def test_a_cancelled_image_is_not_cut_inside(
    engine: Engine, model: Model, projector: Projector, is_evicted: bool
) -> None:
    [before, *others] = _prompt(model, projector.encode_image(_pixels(5, 12, 9)))
    parts = [before * 4, *others]
    submit(engine, _question("gone", parts))
    tokens, media = lay_out(parts)
    n_computed = 0
    while n_computed <= media[0].start:
        engine.step()
        [n_computed] = [slot.n_tokens for slot in engine.report_slots() if slot.running]
    assert n_computed < media[0].end < len(tokens)
    engine.cancel("gone")
    while engine.has_work:
        engine.step()
    engine.check_idle()
    if is_evicted:
        run(engine, *(make_request(f"{index}", [5 + index] * 200) for index in range(6)))
        assert not any(slot.n_tokens == n_computed for slot in engine.report_slots())
    outputs = run(engine, _question("again", parts))["again"]
    if engine.shape.is_cuttable:
        assert outputs[-1].usage.cached_tokens == media[0].start
    _check(model, parts, outputs)


def test_images_are_saved_to_host_memory_and_restored(
    path: Path, model: Model, projector: Projector
) -> None:
    """Preempted for lack of cells, and evicted by other sequences."""
    images = [projector.encode_image(_pixels(seed, 8, 6)) for seed in range(4)]
    prompts = {f"{seed}": _prompt(model, medium) for seed, medium in enumerate(images)}
    with _load(path, n_ctx=160, kv_unified=True, n_parallel=2) as engine:
        outputs = run(engine, *(_question(name, parts) for name, parts in prompts.items()))
        for name, parts in prompts.items():
            _check(model, parts, outputs[name])
        for name, parts in prompts.items():
            again = run(engine, _question(name, parts))[name]
            n_computed = again[-1].usage.prompt_tokens - again[-1].usage.cached_tokens
            assert n_computed == _n_never_cached(engine)
            _check(model, parts, again)
        assert engine.stats.cache_ram_bytes > 0


def test_positions_are_fewer_than_cells(engine: Engine, projector: Projector) -> None:
    parts = [[5, 6], projector.encode_image(_pixels(3)), [7]]
    request = _question("q", parts, max_tokens=1)
    run(engine, request)
    held = [slot for slot in engine.slots if slot.tokens]
    [slot] = held
    n_text = len(request.prompt_tokens) - 24
    assert count_positions(slot.tokens, len(slot.tokens)) == n_text + 6
    assert engine.context.memory_seq_pos_max(slot.seq_id) == n_text + 6 - 1
    assert engine.stats.cells_used == n_text + 24


def test_a_projector_without_rows_lays_its_vectors_in_one(
    engine: Engine, model: Model, tmp_path: Path
) -> None:
    """As libmtmd does, whatever sense it makes."""
    mmproj = write_random_clip(tmp_path / "mmproj.gguf", model.n_embd_inp)
    with Projector(model, mmproj, use_gpu=False, n_threads=1) as projector:
        pixels = _pixels(1)
        expected = logprobs_of_helper(model, projector, BEFORE, [_bitmap(pixels)], AFTER)
        medium = projector.encode_file(png(pixels))
    assert _grids(medium) == [(16, 1)]
    request = _question("q", _prompt(model, medium), max_tokens=1)
    [logprob] = run(engine, request)["q"][-1].logprobs
    for token, value in logprob.top:
        assert value == pytest.approx(expected[token], abs=2e-3)


def test_a_sound_stands_where_as_many_tokens_would(
    path: Path, model: Model, tmp_path: Path
) -> None:
    mmproj = write_random_whisper(tmp_path / "mmproj.gguf", model.n_embd_inp)
    samples = 0.1 * np.random.default_rng(1).standard_normal(16_000).astype(np.float32)
    pointer = samples.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
    with (
        Projector(model, mmproj, use_gpu=False, n_threads=1) as projector,
        _load(path, n_ctx=2048, n_parallel=1) as engine,
    ):
        bitmap = mtmd.mtmd_bitmap_init_from_audio(len(samples), pointer)
        assert bitmap
        expected = logprobs_of_helper(model, projector, BEFORE, [bitmap], AFTER)
        medium = projector.encode_sound(samples)
        assert _grids(medium) == [None]
        request = _question("q", _prompt(model, medium), max_tokens=1)
        [logprob] = run(engine, request)["q"][-1].logprobs
        assert engine.stats.cells_used == len(request.prompt_tokens)
    for token, value in logprob.top:
        assert value == pytest.approx(expected[token], abs=ROUNDING)


def test_vectors_need_as_many_positions_as_the_model_has(path: Path, model: Model) -> None:
    vectors = np.zeros((2, model.n_embd_inp), np.float32)
    params = ContextParams(n_ctx=64, n_threads=1, n_threads_batch=1)
    with (
        Context(model, params) as context,
        pytest.raises(InvalidBatchError, match="model expects 4"),
    ):
        context.decode_vectors(VectorBatch(vectors, 0, 0))
    for places in (np.zeros((3, 2), np.int32), np.full((4, 2), -1, np.int32), np.zeros((4, 2))):
        with pytest.raises(InvalidParameterError, match=r"shape \(4, 2\)"):
            VectorBatch(vectors, places, 0)  # type: ignore[arg-type]
