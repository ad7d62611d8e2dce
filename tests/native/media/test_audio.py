"""Audio is encoded and computed as by libmtmd itself."""

import ctypes
from collections.abc import Iterator

import numpy as np
import pytest

from llamabind._capi import mtmd
from llamabind.engine.engine import Engine
from llamabind.errors import InvalidParameterError
from llamabind.media.audio_file import read_audio
from llamabind.media.medium import EncodedMedium, MediaVectors, lay_out
from llamabind.media.projector import Projector
from tests.support.audio_files import flac, silent_mp3, wav
from tests.support.engine_runs import make_request, run, tiny_engine
from tests.support.media_runs import logprobs_of_helper
from tests.support.png_file import png
from tests.support.random_whisper import N_SOUND_TOKENS, write_random_whisper

pytestmark = pytest.mark.native
RATE = 16_000


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with tiny_engine(n_ctx=2048, speculative="off") as engine:
        yield engine


@pytest.fixture(scope="module")
def projector(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Projector]:
    path = tmp_path_factory.mktemp("clip") / "mmproj.gguf"
    write_random_whisper(path, engine.model.n_embd_inp)
    with Projector(engine.model, path, use_gpu=False, n_threads=1) as projector:
        yield projector


def noise(seed: int, seconds: float = 1.0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return (0.1 * random.standard_normal(int(RATE * seconds))).astype(np.float32)


def vectors_of(medium: EncodedMedium) -> np.ndarray:
    return np.concatenate([p.embeddings for p in medium.pieces if isinstance(p, MediaVectors)])


def test_it_accepts_audio_but_no_images(projector: Projector) -> None:
    assert projector.has_audio
    assert not projector.has_vision
    assert projector.audio_sample_rate == RATE
    with pytest.raises(InvalidParameterError, match=r"content\[1\]: .* does not accept images"):
        projector.encode_file(png(np.zeros((4, 4, 3), np.uint8)), "content[1]")


@pytest.mark.parametrize(("seconds", "n_windows"), [(0.1, 1), (1, 1), (29, 1), (31, 2)])
def test_a_sound_becomes_vectors_between_the_words_that_the_model_knows(
    projector: Projector, engine: Engine, seconds: float, n_windows: int
) -> None:
    medium = projector.encode_sound(noise(1, seconds))
    before, *_, after = medium.pieces
    assert isinstance(before, tuple)
    assert isinstance(after, tuple)
    assert engine.tokenizer.decode(before) == "<|audio_bos|>"
    assert engine.tokenizer.decode(after) == "<|audio_eos|>"
    vectors = vectors_of(medium)
    assert vectors.shape == (n_windows * N_SOUND_TOKENS, engine.model.n_embd_inp)
    assert np.isfinite(vectors).all()


def test_a_file_is_read_as_its_samples(projector: Projector) -> None:
    samples = np.round(noise(2) * 32767).astype(np.int16)
    data = wav(samples)
    expected = vectors_of(projector.encode_sound(read_audio(data, RATE)))
    assert not np.allclose(expected, vectors_of(projector.encode_sound(noise(3))))
    for file in (data, flac(samples)):
        found = vectors_of(projector.encode_file(file))
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_silence_of_any_format_is_the_same(projector: Projector) -> None:
    expected = vectors_of(projector.encode_sound(np.zeros(RATE, np.float32)))
    found = vectors_of(projector.encode_file(silent_mp3(38)))
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("data", [silent_mp3(2), flac(np.zeros(100, np.int16)), wav(np.zeros(100))])
def test_a_file_too_short_for_native_code_is_refused(projector: Projector, data: bytes) -> None:
    with pytest.raises(InvalidParameterError, match="input_audio: must last at least 1/10 second"):
        projector.encode_file(data, "input_audio")


def test_a_file_that_claims_more_than_it_has_is_refused(projector: Projector) -> None:
    data = flac(np.zeros(100, np.int16), n_claimed=40 * RATE)[:60]
    with pytest.raises(InvalidParameterError, match="input_audio: the audio is damaged"):
        projector.encode_file(data, "input_audio")


@pytest.mark.parametrize(
    ("samples", "reason"),
    [
        (np.zeros(0, np.float32), "1/10 second"),
        (np.zeros(1, np.float32), "1/10 second"),
        (np.zeros(RATE, np.float64), "float32 samples"),
        (np.zeros((2, RATE), np.float32), "float32 samples"),
        (np.full(RATE, np.nan, np.float32), "not finite numbers"),
    ],
)
def test_invalid_audio_is_refused_before_native_code(
    projector: Projector, samples: np.ndarray, reason: str
) -> None:
    with pytest.raises(InvalidParameterError, match=reason):
        projector.encode_sound(samples)


def test_audio_is_computed_as_by_libmtmd_itself(engine: Engine, projector: Projector) -> None:
    before, after, samples = "What do you hear: ", "? One word.", noise(5)
    pointer = samples.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
    bitmap = mtmd.mtmd_bitmap_init_from_audio(len(samples), pointer)
    assert bitmap
    expected = logprobs_of_helper(engine.model, projector, before, [bitmap], after)
    encode = engine.tokenizer.encode
    tokens, media = lay_out(
        [encode(before), projector.encode_sound(samples), encode(after, add_special=False)]
    )
    request = make_request("q", tokens, media=media, logprobs=20, max_tokens=1)
    [logprob] = run(engine, request)["q"][-1].logprobs
    for token, value in logprob.top:
        assert value == pytest.approx(expected[token], abs=2e-3)
