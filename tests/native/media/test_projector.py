"""A projector turns images into vectors that the text model could read."""

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from llamabind.errors import InvalidParameterError, ProjectorError
from llamabind.media.medium import MediaVectors
from llamabind.media.projector import Projector
from llamabind.native.model import Model
from tests.support.png_file import png
from tests.support.random_clip import N_IMAGE_TOKENS, write_random_clip

pytestmark = pytest.mark.native


@pytest.fixture(scope="module")
def projector(random_llama: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Projector]:
    path = tmp_path_factory.mktemp("clip") / "mmproj-random.gguf"
    write_random_clip(path, random_llama.n_embd)
    with Projector(random_llama, path, use_gpu=False, n_threads=1) as projector:
        yield projector


def random_pixels(seed: int, height: int = 32, width: int = 32) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def vectors_of(projector: Projector, pixels: np.ndarray) -> np.ndarray:
    [vectors] = projector.encode_image(pixels).pieces
    assert isinstance(vectors, MediaVectors)
    assert vectors.is_causal
    return vectors.embeddings


def test_it_accepts_images_but_no_audio(projector: Projector) -> None:
    assert projector.has_vision
    assert not projector.has_audio
    assert projector.audio_sample_rate is None


@pytest.mark.parametrize(("height", "width"), [(32, 32), (1, 1), (90, 17)])
def test_an_image_becomes_a_vector_for_each_token(
    projector: Projector, random_llama: Model, height: int, width: int
) -> None:
    embeddings = vectors_of(projector, random_pixels(1, height, width))
    assert embeddings.shape == (N_IMAGE_TOKENS, random_llama.n_embd)
    assert np.isfinite(embeddings).all()
    assert embeddings.std() > 0


def test_equal_images_have_equal_vectors_and_others_do_not(projector: Projector) -> None:
    first = vectors_of(projector, random_pixels(1))
    other = vectors_of(projector, random_pixels(2))
    np.testing.assert_array_equal(vectors_of(projector, random_pixels(1)), first)
    assert not np.allclose(first, other)


def test_an_image_file_is_read_as_its_pixels(projector: Projector) -> None:
    pixels = random_pixels(4, 20, 30)
    [vectors] = projector.encode_file(png(pixels)).pieces
    assert isinstance(vectors, MediaVectors)
    np.testing.assert_array_equal(vectors.embeddings, vectors_of(projector, pixels))


def test_a_bitmap_file_is_the_same_image(projector: Projector) -> None:
    pixels = random_pixels(5, 8, 12)
    data = pixels[::-1, :, ::-1].tobytes()  # from below, blue first; rows of 36 bytes
    header = struct.pack("<2sIHHI", b"BM", 54 + len(data), 0, 0, 54)
    info = struct.pack("<IiiHHIIiiII", 40, 12, 8, 1, 24, 0, len(data), 0, 0, 0, 0)
    found = projector.encode_file(header + info + data)
    [vectors] = found.pieces
    assert isinstance(vectors, MediaVectors)
    np.testing.assert_array_equal(vectors.embeddings, vectors_of(projector, pixels))


@pytest.mark.parametrize(
    ("data", "pixels"),
    [
        # Each of the smallest: a square of grey, of which all coefficients are 0; a white pixel.
        (
            bytes.fromhex("ffd8ffdb004300")
            + b"\x01" * 64
            + bytes.fromhex("ffc0000b080008000801011100")
            + (bytes.fromhex("ffc4001400") + b"\x01" + bytes(16))
            + (bytes.fromhex("ffc4001410") + b"\x01" + bytes(16))
            + bytes.fromhex("ffda0008010100003f003fffd9"),
            np.full((8, 8, 3), 128, np.uint8),
        ),
        (
            bytes.fromhex("47494638396101000100800000ffffff0000002c00000000010001000002024401003b"),
            np.full((1, 1, 3), 255, np.uint8),
        ),
    ],
    ids=["jpeg", "gif"],
)
def test_jpeg_and_gif_are_read(projector: Projector, data: bytes, pixels: np.ndarray) -> None:
    [vectors] = projector.encode_file(data).pieces
    assert isinstance(vectors, MediaVectors)
    np.testing.assert_array_equal(vectors.embeddings, vectors_of(projector, pixels))


def test_an_image_with_any_byte_wrong_is_read_or_refused(projector: Projector) -> None:
    data = png(random_pixels(6, 9, 7))
    results: set[int | str] = set()
    for place in range(len(data)):
        for change in (0x01, 0x80, 0xFF):
            damaged = bytearray(data)
            damaged[place] ^= change
            try:
                results.add(projector.encode_file(bytes(damaged)).n_tokens)
            except InvalidParameterError as error:
                results.add(error.field)
    assert results == {N_IMAGE_TOKENS, "media"}


@pytest.mark.parametrize("damage", [slice(0, 60), slice(0, 20)])
def test_a_damaged_image_is_refused(projector: Projector, damage: slice) -> None:
    with pytest.raises(InvalidParameterError, match=r"messages\[0\]: the (file|image)"):
        projector.encode_file(png(random_pixels(1))[damage], "messages[0]")


def test_audio_is_refused_by_a_projector_for_images(projector: Projector) -> None:
    with pytest.raises(InvalidParameterError, match="does not accept audio"):
        projector.encode_file(b"RIFF\0\0\0\0WAVEfmt ")


@pytest.mark.parametrize(
    "pixels", [np.zeros((4, 4), np.uint8), np.zeros((4, 0, 3), np.uint8), np.zeros((4, 4, 3))]
)
def test_invalid_images_are_refused_before_native_code(
    projector: Projector, pixels: np.ndarray
) -> None:
    with pytest.raises(InvalidParameterError, match="image: expected uint8 pixels"):
        projector.encode_image(pixels)


@pytest.mark.parametrize("factor", [float("nan"), float("inf")])
def test_embeddings_that_are_not_finite_are_refused(
    random_llama: Model, tmp_path: Path, factor: float
) -> None:
    path = write_random_clip(tmp_path / "bad.gguf", random_llama.n_embd, last_factor=factor)
    with (
        Projector(random_llama, path, use_gpu=False, n_threads=1) as projector,
        pytest.raises(ProjectorError, match=r"bad\.gguf computed embeddings that are NaN"),
    ):
        projector.encode_image(random_pixels(1))


def test_a_projector_of_another_width_is_refused(random_llama: Model, tmp_path: Path) -> None:
    path = write_random_clip(tmp_path / "mmproj-wide.gguf", random_llama.n_embd * 2)
    with pytest.raises(ProjectorError):
        Projector(random_llama, path, use_gpu=False, n_threads=1)
