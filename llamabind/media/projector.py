"""Projector: owns the part of a multimodal model that turns images and audio into embeddings."""

import ctypes
import hashlib
import os
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from llamabind._capi import mtmd
from llamabind._capi.enums import mtmd_input_chunk_type
from llamabind._capi.handles import BitmapPtr, InputChunkPtr, MtmdHandle
from llamabind._capi.mtmd_structs import mtmd_input_text
from llamabind.errors import GgufError, InvalidParameterError, ProjectorError
from llamabind.gguf.header import read_gguf_header
from llamabind.media.audio_file import read_audio
from llamabind.media.file_kind import file_kind
from llamabind.media.image_file import read_image
from llamabind.media.medium import EncodedMedium, Grid, MediaVectors, Medium
from llamabind.native.handle import Handle
from llamabind.native.log import install_mtmd, native_log

if TYPE_CHECKING:
    from llamabind.native.model import Model

_ARCHITECTURE = "clip"
_MIN_LENGTH_DIVISOR = 10  # the shortest audio lasts 1/10 s
_FIRST_POSITION = 1000  # of a made-up image, to read its positions from libmtmd


class Projector(Handle[MtmdHandle]):
    """A loaded mmproj file (mtmd_context of mtmd.h) for one model; closed before the model is.

    `size_bytes` is the size of its file, nearly all of which is weights. Functions of libmtmd are
    not thread-safe: use it on one thread at a time.
    """

    def __init__(
        self,
        model: "Model",
        path: str | os.PathLike[str],
        *,
        use_gpu: bool = True,
        n_threads: int | None = None,
        image_min_tokens: int | None = None,
        image_max_tokens: int | None = None,
    ) -> None:
        """Load the file. Raises ProjectorError with the reason.

        `image_min_tokens` and `image_max_tokens` limit the tokens of an image for models that read
        images of any size; None is the model's own limit.
        """
        self.path = Path(path)
        self.size_bytes = check_projector(self.path)
        if model.params.vocab_only or model.params.no_alloc:
            raise ProjectorError("the model was loaded without its weights")
        install_mtmd()
        params = mtmd.mtmd_context_params_default()
        params.use_gpu = use_gpu
        params.print_timings = False
        # The first image warms up too; a warmup here would only make the load longer.
        params.warmup = False
        if n_threads is not None:
            params.n_threads = n_threads
        if image_min_tokens is not None:
            params.image_min_tokens = image_min_tokens
        if image_max_tokens is not None:
            params.image_max_tokens = image_max_tokens
        position = native_log.position()
        handle = mtmd.mtmd_init_from_file(os.fsencode(self.path), model.ptr, params)
        if not handle:
            lines = native_log.lines_since(position)[-3:]
            raise ProjectorError(f"{self.path}: {'; '.join(lines) or 'libmtmd gave no reason'}")
        super().__init__(handle, model)
        self._n_embd = model.n_embd_inp

    @property
    def has_vision(self) -> bool:
        """Whether it accepts images."""
        return mtmd.mtmd_support_vision(self.ptr)

    @property
    def has_audio(self) -> bool:
        """Whether it accepts audio."""
        return mtmd.mtmd_support_audio(self.ptr)

    @property
    def audio_sample_rate(self) -> int | None:
        """The sample rate it expects, in samples per second; None if it does not accept audio."""
        rate = mtmd.mtmd_get_audio_sample_rate(self.ptr)
        return rate if rate > 0 else None

    def encode_file(self, data: bytes, field: str = "media") -> EncodedMedium:
        """Encode an image or audio file of a format that file_kind() knows.

        Raises InvalidParameterError, naming `field`, for other files, for a kind that this
        projector does not accept, and for images whose positions do not form a grid (HunyuanVL);
        MissingLibraryError without the libraries that decode the file; ProjectorError where libmtmd
        fails.
        """
        if file_kind(data, field) == "image":
            self._require(self.has_vision, field, "images")
            return self._encode_pixels(read_image(data, field), _digest(data), field)
        self._require(self.has_audio, field, "audio")
        samples = read_audio(data, self.audio_sample_rate or 0, field)
        return self.encode_sound(samples, field)

    def _check_length(self, n_samples: int, field: str) -> None:
        # Native code aborts on very short audio.
        if n_samples * _MIN_LENGTH_DIVISOR < (self.audio_sample_rate or 0):
            raise InvalidParameterError(field, f"must last at least 1/{_MIN_LENGTH_DIVISOR} second")

    def encode_image(self, pixels: NDArray[np.uint8]) -> EncodedMedium:
        """Encode an image: RGB `pixels` of shape (height, width, 3), dtype uint8.

        Raises InvalidParameterError for other arrays, and otherwise what encode_file() raises.
        """
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
            raise InvalidParameterError(
                "image",
                "expected uint8 pixels of shape (height, width, 3), "
                f"but got {pixels.dtype} of shape {pixels.shape}",
            )
        self._require(self.has_vision, "image", "images")
        return self._encode_pixels(pixels, _digest(pixels.tobytes(), pixels.shape[1]), "image")

    def _encode_pixels(self, pixels: NDArray[np.uint8], digest: bytes, field: str) -> EncodedMedium:
        height, width, _ = pixels.shape
        bitmap = mtmd.mtmd_bitmap_init(width, height, pixels.tobytes())
        return self._encode(bitmap, digest, field)

    def encode_sound(self, samples: NDArray[np.float32], field: str = "audio") -> EncodedMedium:
        """Encode audio: float32 samples of one channel, shape (n,), at `audio_sample_rate`, at
        least a tenth of a second. Raises what encode_file() raises.
        """
        if samples.dtype != np.float32 or samples.ndim != 1:
            raise InvalidParameterError(
                field,
                "expected float32 samples of shape (n,), "
                f"but got {samples.dtype} of shape {samples.shape}",
            )
        self._require(self.has_audio, field, "audio")
        self._check_length(len(samples), field)
        if not np.isfinite(samples).all():
            raise InvalidParameterError(field, "has samples that are not finite numbers")
        samples = np.ascontiguousarray(samples)
        pointer = samples.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        bitmap = mtmd.mtmd_bitmap_init_from_audio(len(samples), pointer)
        return self._encode(bitmap, _digest(samples.tobytes()), field)

    def _require(self, can: bool, field: str, kind: str) -> None:
        if not can:
            raise InvalidParameterError(field, f"the model's projector does not accept {kind}")

    def _encode(self, bitmap: BitmapPtr | None, digest: bytes, field: str) -> EncodedMedium:
        """Have libmtmd split a bitmap into chunks, encode each, and free the bitmap."""
        if not bitmap:
            raise ProjectorError("libmtmd could not allocate memory for the medium")
        with ExitStack() as undo:
            undo.callback(mtmd.mtmd_bitmap_free, bitmap)
            chunks = mtmd.mtmd_input_chunks_init()
            undo.callback(mtmd.mtmd_input_chunks_free, chunks)
            marker = mtmd.mtmd_get_marker(self.ptr)
            text = mtmd_input_text(marker, len(marker), False, False)
            bitmaps = (ctypes.c_void_p * 1)(bitmap)
            position = native_log.position()
            code = mtmd.mtmd_tokenize(self.ptr, chunks, ctypes.byref(text), bitmaps, 1)
            if code != 0:
                raise _failure("tokenize", code, position)
            found = [
                mtmd.mtmd_input_chunks_get(chunks, index)
                for index in range(mtmd.mtmd_input_chunks_size(chunks))
            ]
            return EncodedMedium(digest, tuple(self._encode_chunk(each, field) for each in found))

    def _encode_chunk(self, chunk: InputChunkPtr, field: str) -> tuple[int, ...] | MediaVectors:
        kind = mtmd.mtmd_input_chunk_get_type(chunk)
        if kind == mtmd_input_chunk_type.MTMD_INPUT_CHUNK_TYPE_TEXT:
            n = ctypes.c_size_t()
            tokens = mtmd.mtmd_input_chunk_get_tokens_text(chunk, ctypes.byref(n))
            return tuple(tokens[: n.value])
        grid = self._grid(chunk, field)
        position = native_log.position()
        code = mtmd.mtmd_encode_chunk(self.ptr, chunk)
        if code != 0:
            raise _failure("encode", code, position)
        shape = (mtmd.mtmd_input_chunk_get_n_tokens(chunk), self._n_embd)
        # libmtmd overwrites the vectors at its next encoding.
        vectors = np.ctypeslib.as_array(mtmd.mtmd_get_output_embd(self.ptr), shape).copy()
        if not np.isfinite(vectors).all():
            # In the KV cache they might spoil the answers of other requests (adapter_weights.py).
            raise ProjectorError(
                f"{self.path.name} computed embeddings that are NaN or infinite; the file may be "
                "damaged, so download or convert it again"
            )
        is_causal = not mtmd.mtmd_decode_use_non_causal(self.ptr, chunk)
        return MediaVectors(vectors, is_causal, grid)

    def _grid(self, chunk: InputChunkPtr, field: str) -> Grid | None:
        """Return columns and rows of an image's vectors for a model with M-RoPE, else None."""
        image = mtmd.mtmd_input_chunk_get_tokens_image(chunk)
        if not image or not mtmd.mtmd_decode_use_mrope(self.ptr):
            return None
        n = mtmd.mtmd_image_tokens_get_n_tokens(image)
        positions = [
            mtmd.mtmd_image_tokens_get_decoder_pos(image, _FIRST_POSITION, index)
            for index in range(n)
        ]
        nx = max(1, 1 + max(each.x for each in positions) - _FIRST_POSITION)
        grid = (nx, n // nx)
        medium = Medium(0, np.empty((n, 0), np.float32), grid=grid)
        expected = medium.positions(_FIRST_POSITION, 0, n).T.tolist()
        is_grid = [[each.t, each.y, each.x, each.z] for each in positions] == expected
        if not is_grid or mtmd.mtmd_image_tokens_get_n_pos(image) != medium.n_positions:
            raise InvalidParameterError(
                field, "images whose positions do not form a grid are not supported"
            )
        return grid

    def _free(self, handle: MtmdHandle) -> None:
        mtmd.mtmd_free(handle)


def check_projector(path: Path) -> int:
    """Return the size of a projector file in bytes; ProjectorError if it is another kind of file.

    Reads the GGUF header only.
    """
    try:
        header = read_gguf_header(path)
    except GgufError as error:
        raise ProjectorError(f"{path}: {error}") from None
    if header.architecture != _ARCHITECTURE:
        raise ProjectorError(
            f"{path}: general.architecture is {header.architecture!r}, expected {_ARCHITECTURE!r}"
        )
    return path.stat().st_size


def _digest(data: bytes, width: int = 0) -> bytes:
    return hashlib.blake2b(data, digest_size=32, salt=width.to_bytes(8, "little")).digest()


def _failure(verb: str, code: int, position: int) -> ProjectorError:
    lines = native_log.lines_since(position)[-1:]
    detail = f": {lines[0]}" if lines else ""
    return ProjectorError(f"libmtmd could not {verb} the medium, code {code}{detail}")
