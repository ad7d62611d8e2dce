"""read_image: the pixels of an image file, decoded by Pillow."""

from __future__ import annotations

import io
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from llamabind.errors import InvalidParameterError, MissingLibraryError

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_SIDE: Final = 16_384
MAX_PIXELS: Final = 50_000_000
"""An image takes 3 bytes per pixel until it is scaled down for the projector."""

# Pillow knows many more formats, whose decoders models' users do not need.
_FORMATS: Final = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "AVIF")


def read_image(data: bytes, field: str = "image") -> NDArray[np.uint8]:
    """Return RGB pixels, shape (height, width, 3), turned upright as the file's EXIF says.

    The first image of an animation is read, and transparency is dropped. Raises
    InvalidParameterError, naming `field`, for a damaged file, or one of more than MAX_SIDE pixels
    per side or MAX_PIXELS in all, before it is decoded; MissingLibraryError without Pillow.
    """
    try:
        from PIL import Image, ImageOps
    except ImportError:
        raise MissingLibraryError("images", "Pillow") from None
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            _check_size(image.size, field)
            image.load()
            upright: Image.Image = image
            # Damaged EXIF data is no reason to refuse the image.
            with suppress(Exception):
                upright = ImageOps.exif_transpose(image)
            return _pixels(upright)
    except InvalidParameterError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise InvalidParameterError(
            field, f"the image has more than the limit of {MAX_PIXELS} pixels"
        ) from None
    except Exception as error:  # noqa: BLE001 - decoders raise all kinds for damaged files
        detail = str(error).partition(" <_io")[0] or type(error).__name__
        raise InvalidParameterError(field, f"the image is truncated or damaged: {detail}") from None


def _check_size(size: tuple[int, int], field: str) -> None:
    width, height = size
    if not width or not height:
        raise InvalidParameterError(field, "the image has no pixels")
    if max(size) > MAX_SIDE or width * height > MAX_PIXELS:
        raise InvalidParameterError(
            field,
            f"expected an image of at most {MAX_SIDE} pixels per side and {MAX_PIXELS} in total, "
            f"but got {width} x {height}",
        )


def _pixels(image: Any) -> NDArray[np.uint8]:
    if image.mode.startswith("I"):
        # 16 bits of grey, which convert() would clip to 8 bits instead of scaling them.
        grey = np.clip(np.asarray(image).astype(np.int64) >> 8, 0, 255).astype(np.uint8)
        return np.repeat(grey[:, :, np.newaxis], 3, axis=2)
    return np.array(image.convert("RGB"), dtype=np.uint8)
