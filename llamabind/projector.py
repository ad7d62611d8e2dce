"""Projector: owns the part of a multimodal model that turns images and sound into embeddings."""

import ctypes
import os
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from llamabind._capi import mtmd
from llamabind._capi.enums import mtmd_input_chunk_type
from llamabind._capi.handles import InputChunkPtr, InputChunksPtr, MtmdHandle
from llamabind._capi.mtmd_structs import mtmd_input_text
from llamabind.errors import GgufError, InvalidParameterError, ProjectorError
from llamabind.gguf_header import read_gguf_header
from llamabind.handle import Handle
from llamabind.log import install_mtmd, native_log

if TYPE_CHECKING:
    from llamabind.model import Model

_ARCHITECTURE = "clip"


class Projector(Handle[MtmdHandle]):
    """A loaded mmproj file (mtmd_context of mtmd.h) for one model; closed before the model is.

    `size_bytes` is the size of its file, next to all of which are weights. Functions of libmtmd are
    not thread-safe: use it on one thread at a time.
    """

    def __init__(
        self,
        model: "Model",
        path: str | os.PathLike[str],
        *,
        use_gpu: bool = True,
        n_threads: int | None = None,
    ) -> None:
        """Load the file. Raises ProjectorError with the reason."""
        self.path = Path(path)
        self.size_bytes = check_projector(self.path)
        if model.params.vocab_only or model.params.no_alloc:
            raise ProjectorError("the model was loaded without its weights")
        install_mtmd()
        params = mtmd.mtmd_context_params_default()
        params.use_gpu = use_gpu
        params.print_timings = False
        # The first image warms up as well; a load is not made longer by it.
        params.warmup = False
        if n_threads is not None:
            params.n_threads = n_threads
        position = native_log.position()
        handle = mtmd.mtmd_init_from_file(os.fsencode(self.path), model.ptr, params)
        if not handle:
            lines = native_log.lines_since(position)[-3:]
            raise ProjectorError(f"{self.path}: {'; '.join(lines) or 'libmtmd gave no reason'}")
        super().__init__(handle, model)
        self._n_embd = model.n_embd

    @property
    def has_vision(self) -> bool:
        """Whether it takes images."""
        return mtmd.mtmd_support_vision(self.ptr)

    @property
    def has_audio(self) -> bool:
        """Whether it takes sound."""
        return mtmd.mtmd_support_audio(self.ptr)

    @property
    def audio_sample_rate(self) -> int | None:
        """Samples per second that it expects of sound; None without audio."""
        rate = mtmd.mtmd_get_audio_sample_rate(self.ptr)
        return rate if rate > 0 else None

    def encode_image(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the embeddings of a picture, shape (n_tokens, n_embd) of the text model.

        `pixels` are RGB, shape (height, width, 3), dtype uint8. Special tokens that the model wants
        around a picture are not part of it. Raises InvalidParameterError for anything else, and
        ProjectorError where the projector takes no images, or needs M-RoPE positions.
        """
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
            raise InvalidParameterError(
                "image",
                "expected uint8 pixels of shape (height, width, 3), "
                f"but got {pixels.dtype} of shape {pixels.shape}",
            )
        if not self.has_vision:
            raise ProjectorError(f"{self.path}: the projector takes no images")
        if mtmd.mtmd_decode_use_mrope(self.ptr):
            raise ProjectorError(f"{self.path}: M-RoPE positions are not supported")
        height, width, _ = pixels.shape
        with ExitStack() as undo:
            bitmap = mtmd.mtmd_bitmap_init(width, height, pixels.tobytes())
            if not bitmap:
                raise ProjectorError(f"libmtmd made no bitmap of {width} x {height} pixels")
            undo.callback(mtmd.mtmd_bitmap_free, bitmap)
            chunks = mtmd.mtmd_input_chunks_init()
            undo.callback(mtmd.mtmd_input_chunks_free, chunks)
            marker = mtmd.mtmd_get_marker(self.ptr)
            text = mtmd_input_text(marker, len(marker), False, False)
            bitmaps = (ctypes.c_void_p * 1)(bitmap)
            code = mtmd.mtmd_tokenize(self.ptr, chunks, ctypes.byref(text), bitmaps, 1)
            if code != 0:
                raise ProjectorError(f"libmtmd refused the picture with code {code}")
            return self._encode_media(chunks)

    def _encode_media(self, chunks: InputChunksPtr) -> NDArray[np.float32]:
        """Encode every chunk that is no text: a picture may be cut into several."""
        found = [
            mtmd.mtmd_input_chunks_get(chunks, index)
            for index in range(mtmd.mtmd_input_chunks_size(chunks))
        ]
        text = mtmd_input_chunk_type.MTMD_INPUT_CHUNK_TYPE_TEXT
        media = [chunk for chunk in found if mtmd.mtmd_input_chunk_get_type(chunk) != text]
        return np.concatenate([self._encode_chunk(chunk) for chunk in media])

    def _encode_chunk(self, chunk: InputChunkPtr) -> NDArray[np.float32]:
        code = mtmd.mtmd_encode_chunk(self.ptr, chunk)
        if code != 0:
            raise ProjectorError(f"libmtmd could not encode the picture: code {code}")
        shape = (mtmd.mtmd_input_chunk_get_n_tokens(chunk), self._n_embd)
        # The vectors are libmtmd's until its next encoding.
        return np.ctypeslib.as_array(mtmd.mtmd_get_output_embd(self.ptr), shape).copy()

    def _free(self, handle: MtmdHandle) -> None:
        mtmd.mtmd_free(handle)


def check_projector(path: Path) -> int:
    """Return the size of a projector's file in bytes; ProjectorError if it is none."""
    try:
        header = read_gguf_header(path)
    except GgufError as error:
        raise ProjectorError(f"{path}: {error}") from None
    if header.architecture != _ARCHITECTURE:
        raise ProjectorError(
            f"{path}: general.architecture is {header.architecture!r}, "
            f"a projector's is {_ARCHITECTURE!r}"
        )
    return path.stat().st_size
