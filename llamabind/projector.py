"""Projector: owns the part of a multimodal model that turns images and sound into embeddings."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from llamabind._capi import mtmd
from llamabind._capi.handles import MtmdHandle
from llamabind.errors import GgufError, ProjectorError
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
