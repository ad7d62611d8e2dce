"""The engine computes images as libmtmd's own helper does, and shares them between requests."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from llamabind._capi import mtmd
from llamabind._capi.handles import BitmapPtr
from llamabind.context.batch import Batch
from llamabind.context.context import Context
from llamabind.context.params import ContextParams
from llamabind.context.vector_batch import VectorBatch
from llamabind.engine.engine import Engine
from llamabind.engine.logprobs import top_logprobs
from llamabind.engine.slot_exchange import SlotExchange
from llamabind.engine.slot_file import read_slot_file, write_slot_file
from llamabind.errors import InvalidBatchError, InvalidParameterError, StateError
from llamabind.media.medium import EncodedMedium, MediaVectors, lay_out
from llamabind.media.projector import Projector
from llamabind.native.model import Model
from llamabind.request import GenerationRequest
from tests.support.engine_runs import make_request, run, tiny_engine, tokens_of
from tests.support.media_runs import logprobs_of_helper
from tests.support.random_clip import N_IMAGE_TOKENS, write_random_clip

pytestmark = pytest.mark.native

BEFORE, AFTER = "What is on this picture: ", "? Answer in one word."
K = 20


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with tiny_engine(n_ctx=512, n_ubatch=64, speculative="off") as engine:
        yield engine


@pytest.fixture(scope="module")
def projector(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Projector]:
    path = write_random_clip(
        tmp_path_factory.mktemp("clip") / "mmproj.gguf", engine.model.n_embd_inp
    )
    with Projector(engine.model, path, use_gpu=False, n_threads=1) as projector:
        yield projector


def random_pixels(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (40, 30, 3), dtype=np.uint8)


def question(engine: Engine, request_id: str, *media: EncodedMedium, **fields) -> GenerationRequest:
    encode = engine.tokenizer.encode
    between = encode(" or ", add_special=False)
    images = [part for medium in media for part in (medium, between)][:-1]
    tokens, placed = lay_out([encode(BEFORE), *images, encode(AFTER, add_special=False)])
    return make_request(request_id, tokens, media=placed, logprobs=K, **fields)


def bitmap(pixels: np.ndarray) -> BitmapPtr:
    height, width, _ = pixels.shape
    found = mtmd.mtmd_bitmap_init(width, height, pixels.tobytes())
    assert found
    return found


@pytest.mark.parametrize("seeds", [[1], [1, 2]])
def test_an_image_is_read_as_by_libmtmd_itself(
    engine: Engine, projector: Projector, seeds: list[int]
) -> None:
    pixels = [random_pixels(seed) for seed in seeds]
    expected = logprobs_of_helper(
        engine.model, projector, BEFORE, [bitmap(image) for image in pixels], AFTER
    )
    media = [projector.encode_image(image) for image in pixels]
    outputs = run(engine, question(engine, f"q{seeds}", *media, max_tokens=1))[f"q{seeds}"]
    [logprob] = outputs[-1].logprobs
    assert len(logprob.top) == K
    for token, value in logprob.top:
        assert value == pytest.approx(expected[token], abs=2e-3)


def test_the_same_image_reuses_its_cells_and_another_does_not(
    engine: Engine, projector: Projector
) -> None:
    dog, cat = (projector.encode_image(random_pixels(seed)) for seed in (11, 12))
    n_before = len(engine.tokenizer.encode(BEFORE))
    first = run(engine, question(engine, "first", dog))["first"]
    same = projector.encode_image(random_pixels(11))
    again = run(engine, question(engine, "again", same))["again"]
    other = run(engine, question(engine, "other", cat))["other"]
    n_prompt = first[-1].usage.prompt_tokens
    assert n_prompt > n_before + N_IMAGE_TOKENS
    assert again[-1].usage.cached_tokens == n_prompt - 1
    assert other[-1].usage.cached_tokens == n_before
    assert tokens_of(again) == tokens_of(first)
    assert first[0].logprobs[0].top != other[0].logprobs[0].top


def test_images_and_texts_run_together_as_alone(engine: Engine, projector: Projector) -> None:
    dog = projector.encode_image(random_pixels(21))
    text = engine.tokenizer.encode("Once upon a time there was a")
    alone = {
        "text": run(engine, make_request("text", text))["text"],
        "dog": run(engine, question(engine, "dog", dog))["dog"],
    }
    together = run(
        engine,
        make_request("text", text),
        question(engine, "dog", dog),
        question(engine, "two", dog, projector.encode_image(random_pixels(22))),
    )
    assert together["two"][-1].error is None
    for name, outputs in alone.items():
        assert tokens_of(together[name]) == tokens_of(outputs)


def test_vectors_that_are_not_causal_see_each_other(engine: Engine) -> None:
    random = np.random.default_rng(5)
    vectors = random.standard_normal((8, engine.model.n_embd_inp)).astype(np.float32)
    expected = logits_after_vectors(engine.model, vectors, is_causal=False)
    assert not np.allclose(expected, logits_after_vectors(engine.model, vectors), atol=1e-3)
    medium = EncodedMedium(b"both ways", (MediaVectors(vectors, is_causal=False),))
    tokens, media = lay_out([medium, [5]])
    outputs = run(engine, make_request("q", tokens, media=media, logprobs=K, max_tokens=1))["q"]
    [logprob] = outputs[-1].logprobs
    found = dict([(logprob.token, logprob.logprob), *logprob.top])
    wanted = top_logprobs([expected.ctypes.data], [logprob.token], engine.model.n_vocab, K)[0]
    assert found == pytest.approx(dict([(wanted.token, wanted.logprob), *wanted.top]), abs=2e-3)


def logits_after_vectors(
    model: Model, vectors: np.ndarray, *, is_causal: bool = True
) -> np.ndarray:
    params = ContextParams(n_ctx=64, n_threads=1, n_threads_batch=1)
    with Context(model, params) as context:
        context.decode_vectors(VectorBatch(vectors, 0, 0), is_causal=is_causal)
        batch = Batch(1)
        batch.add(5, len(vectors), 0, output=True)
        context.decode(batch)
        return context.logits(0).copy()


def test_an_image_that_native_code_would_abort_for_is_refused_with_both_numbers(
    engine: Engine,
) -> None:
    vectors = np.zeros((65, engine.model.n_embd_inp), np.float32)
    tokens, media = lay_out([EncodedMedium(b"big", (MediaVectors(vectors, False),)), [5]])
    with pytest.raises(InvalidParameterError, match="65 tokens does not fit n_ubatch of 64"):
        engine.prepare(make_request("q", tokens, media=media))
    with pytest.raises(InvalidBatchError, match="65 tokens, at most 64 fit"):
        engine.context.decode_vectors(VectorBatch(vectors, 0, 0), is_causal=False)


def test_vectors_of_another_width_are_refused(engine: Engine) -> None:
    vectors = np.zeros((4, engine.model.n_embd_inp + 1), np.float32)
    tokens, media = lay_out([EncodedMedium(b"wide", (MediaVectors(vectors),)), [5]])
    with pytest.raises(InvalidParameterError, match="the model takes"):
        engine.prepare(make_request("q", tokens, media=media))
    with pytest.raises(InvalidBatchError, match="the model expects"):
        engine.context.decode_vectors(VectorBatch(vectors, 0, 0))


def test_a_slot_with_an_image_is_saved_and_restored(
    engine: Engine, projector: Projector, tmp_path: Path
) -> None:
    exchange = SlotExchange(engine, ("mmproj.gguf", 1))
    image = projector.encode_image(random_pixels(7))
    first = run(engine, question(engine, "first", image))["first"]
    slot = first[-1].seq_id
    assert slot is not None
    path = tmp_path / "slot.bin"
    write_slot_file(path, exchange.take(slot))
    for report in engine.report_slots():
        exchange.erase(report.seq_id)
    content, _ = read_slot_file(path, exchange.key, exchange.max_file_bytes)
    other = SlotExchange(engine, ("other.gguf", 1))
    with pytest.raises(StateError, match="another projector"):
        other.put(0, content)
    exchange.put(0, content)
    engine.check_idle()
    again = run(engine, question(engine, "again", image))["again"]
    assert again[-1].usage.cached_tokens == again[-1].usage.prompt_tokens - 1
    assert tokens_of(again) == tokens_of(first)
