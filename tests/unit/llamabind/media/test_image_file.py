"""read_image: pixels of every format, upright; bombs, truncated and lying files are refused."""

import io
import struct
import sys
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from llamabind.errors import InvalidParameterError, MissingLibraryError
from llamabind.media.image_file import read_image

_LOSSLESS: dict[str, dict[str, Any]] = {
    "PNG": {},
    "BMP": {},
    "WEBP": {"lossless": True},
}


def _pixels(height: int = 20, width: int = 30) -> np.ndarray:
    """A smooth image: lossy formats keep it, and every turn changes it."""
    rows, columns = np.mgrid[0:height, 0:width]
    red, green = rows * 255 // height, columns * 255 // width
    return np.stack([red, green, np.full_like(red, 128)], axis=2).astype(np.uint8)


def _file(form: str, image: Image.Image | None = None, **options: Any) -> bytes:
    buffer = io.BytesIO()
    (image or Image.fromarray(_pixels())).save(buffer, form, **options)
    return buffer.getvalue()


def _png(width: int, height: int, data: bytes, **chunks: bytes) -> bytes:
    """A PNG of 8-bit RGB with this raw data, whatever its header claims."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + crc

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", header)]
    parts += [chunk(name.encode(), content) for name, content in chunks.items()]
    return b"".join([*parts, chunk(b"IDAT", zlib.compress(data, 9)), chunk(b"IEND", b"")])


@pytest.mark.parametrize("form", _LOSSLESS)
def test_lossless_formats_give_the_same_pixels(form: str) -> None:
    pixels = read_image(_file(form, **_LOSSLESS[form]))
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, _pixels())


@pytest.mark.parametrize("form", ["JPEG", "AVIF", "WEBP", "GIF"])
def test_lossy_formats_give_nearly_the_same_pixels(form: str) -> None:
    found = read_image(_file(form)).astype(int)
    assert found.shape == (20, 30, 3)
    assert np.abs(found - _pixels()).mean() < 12


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_turned_upright(orientation: int) -> None:
    stored = Image.fromarray(_pixels())
    exif = Image.Exif()
    exif[0x0112] = orientation
    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    upright = stored.transpose(turns[orientation]) if orientation in turns else stored
    for form, options in (("PNG", {}), ("WEBP", {"lossless": True})):
        found = read_image(_file(form, stored, exif=exif, **options))
        np.testing.assert_array_equal(found, np.asarray(upright))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_invalid_exif_data_is_ignored() -> None:
    data = _file("JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff garbage")
    assert read_image(data).shape == (20, 30, 3)


@pytest.mark.parametrize("form", ["GIF", "WEBP", "AVIF"])
def test_the_first_image_of_an_animation_is_read(form: str) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    data = _file(form, frames[0], save_all=True, append_images=frames[1:])
    red, _, blue = read_image(data)[8, 8]
    assert red > 200
    assert blue < 60


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "1", "CMYK", "I;16"])
def test_every_kind_of_pixels_becomes_rgb(mode: str) -> None:
    if mode == "I;16":
        image = Image.fromarray(np.full((4, 5), 0x8000, np.uint16))
    elif mode == "P":
        image = Image.new("RGB", (5, 4), (128, 128, 128)).quantize(2)
    else:
        image = Image.new("RGB", (5, 4), (128, 128, 128)).convert(mode)
    found = read_image(_file("JPEG" if mode == "CMYK" else "PNG", image))
    assert found.shape == (4, 5, 3)
    if mode != "1":
        assert np.abs(found.astype(int) - 128).max() <= 3


def test_a_small_file_of_50_000_by_50_000_pixels_is_refused() -> None:
    rows = bytes(1 << 20) * 900
    data = _png(50_000, 50_000, rows)
    assert len(data) < 1_100_000
    with pytest.raises(InvalidParameterError, match="limit of 50000000 pixels") as caught:
        read_image(data, "messages[0]")
    assert caught.value.field == "messages[0]"


@pytest.mark.parametrize(
    ("width", "height", "message"),
    [
        (16_385, 1, "16384 pixels per side .* but got 16385 x 1"),
        (8_000, 8_000, "but got 8000 x 8000"),
        (10_000, 10_000, "50000000"),
        (0, 5, "image"),
    ],
)
def test_an_image_over_the_limits_is_refused_before_it_is_decoded(
    width: int, height: int, message: str
) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        read_image(_png(width, height, b""))


def test_data_beyond_the_pixels_is_not_unpacked() -> None:
    data = _png(2, 2, bytes(2 * 7) + bytes(1 << 28))
    np.testing.assert_array_equal(read_image(data), np.zeros((2, 2, 3), np.uint8))


def test_metadata_that_unpacks_to_hundreds_of_megabytes_is_refused() -> None:
    text = b"k\0\0" + zlib.compress(bytes(1 << 27), 9)
    profile = b"k\0\0" + zlib.compress(bytes(1 << 27), 9)
    for chunks in ({"zTXt": text}, {"iCCP": profile}):
        with pytest.raises(InvalidParameterError, match=r"damaged: .*too large"):
            read_image(_png(1, 1, bytes(4), **chunks))


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "AVIF", "GIF", "BMP"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_truncated_file_is_refused(form: str, share: float) -> None:
    random = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = _file(form, Image.fromarray(random))
    with pytest.raises(InvalidParameterError, match="truncated or damaged"):
        read_image(data[: int(len(data) * share)])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x89PNG\r\n\x1a\n" + bytes(60),
        b"\xff\xd8\xff\xe0" + bytes(60),
        b"RIFF\xff\xff\xff\xffWEBPVP8 " + bytes(60),
        b"\0\0\0\x20ftypavif" + bytes(60),
        b"GIF89a" + struct.pack("<HH", 30, 20) + bytes(3),
        b"BM" + bytes(16) + struct.pack("<ii", 30, -20),
    ],
)
def test_a_file_that_only_looks_like_an_image_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidParameterError, match="truncated or damaged"):
        read_image(data)


def test_a_format_that_is_not_offered_is_refused() -> None:
    with pytest.raises(InvalidParameterError, match="cannot identify"):
        read_image(_file("TIFF"))


def test_without_pillow_the_error_names_the_line_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = _file("PNG")
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingLibraryError, match=r"pip install 'llamabind\[media\]'"):
        read_image(data)
