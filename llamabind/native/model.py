"""Model: owns a loaded model file; its metadata, sizes and tokenizer."""

import ctypes
import logging
import os
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Final

from llamabind._capi import llama
from llamabind._capi.enums import llama_rope_type
from llamabind._capi.types import ModelHandle
from llamabind.errors import LoadCancelledError
from llamabind.native import backend, extra_buffers
from llamabind.native.handle import Handle
from llamabind.native.load_failure import load_error, missing_file, shards
from llamabind.native.log import native_log
from llamabind.native.model_loading import ModelLoad
from llamabind.native.model_params import ModelParams
from llamabind.native.tokenizer import Tokenizer

ProgressCallback = Callable[[float], bool]

logger = logging.getLogger(__name__)

# Architectures whose graphs look positions up in a table of n_ctx_train rows (llama.cpp's
# src/models; for mpt it depends on the model).
_LEARNED_POSITIONS: Final = frozenset({"bert", "gpt2", "mpt", "starcoder"})
_MROPE: Final = (llama_rope_type.LLAMA_ROPE_TYPE_MROPE, llama_rope_type.LLAMA_ROPE_TYPE_IMROPE)


class Model(Handle[ModelHandle]):
    """A loaded model file (llama_model of llama.h).

    Metadata and sizes may be read on any thread until close(), which also closes contexts, samplers
    and adapters made from the model. For a split model `path` may be any shard.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        params: ModelParams | None = None,
        progress: ProgressCallback | None = None,
    ) -> None:
        """Load the file, which blocks until the load ends.

        `progress` is called with 0.0 to 1.0 on this thread. If it returns False the load is
        cancelled (LoadCancelledError); if it raises, the load is cancelled and the exception raised
        here. Raises ModelLoadError with a reason and the last native log lines.
        """
        backend.init()
        self.path = Path(path)
        self.params = params or ModelParams()
        super().__init__(_load(self.path, self.params, progress))
        vocab = llama.llama_model_get_vocab(self.ptr)
        assert vocab, "every model has a vocabulary object"
        self.tokenizer = Tokenizer(self, vocab)

    @cached_property
    def metadata(self) -> Mapping[str, str]:
        """The scalar metadata of the file as text, by key, without arrays."""
        count = llama.llama_model_meta_count(self.ptr)
        return MappingProxyType(
            {
                self._text(llama.llama_model_meta_key_by_index, index): self._text(
                    llama.llama_model_meta_val_str_by_index, index
                )
                for index in range(count)
            }
        )

    @property
    def architecture(self) -> str:
        """The architecture's name in GGUF files, such as "llama"."""
        return self.metadata.get("general.architecture", "")

    @property
    def description(self) -> str:
        """llama.cpp's description of the model, such as "llama 1B Q4_K - Medium"."""
        return self._text(llama.llama_model_desc)

    @property
    def chat_template_source(self) -> str | None:
        """The default chat template of the file, or None."""
        template = llama.llama_model_chat_template(self.ptr, None)
        return None if template is None else template.decode(errors="replace")

    @property
    def size_bytes(self) -> int:
        """The size of all tensors in bytes."""
        return llama.llama_model_size(self.ptr)

    @property
    def n_params(self) -> int:
        """The number of weights."""
        return llama.llama_model_n_params(self.ptr)

    @property
    def n_ctx_train(self) -> int:
        """The training context in tokens."""
        return llama.llama_model_n_ctx_train(self.ptr)

    @property
    def n_positions(self) -> int | None:
        """The number of positions of a model with learned position vectors; None for no limit.

        Native code does not check positions and aborts beyond this number.
        """
        return self.n_ctx_train if self.architecture in _LEARNED_POSITIONS else None

    @property
    def n_embd(self) -> int:
        """The width of a hidden state."""
        return llama.llama_model_n_embd(self.ptr)

    @property
    def n_embd_inp(self) -> int:
        """The width of a vector in place of a token (Context.decode_vectors)."""
        return llama.llama_model_n_embd_inp(self.ptr)

    @property
    def uses_mrope(self) -> bool:
        """Whether positions have several dimensions, as in Qwen2-VL."""
        return llama.llama_model_rope_type(self.ptr) in _MROPE

    @property
    def n_embd_out(self) -> int:
        """The width of an embedding that embeddings_ith returns."""
        return llama.llama_model_n_embd_out(self.ptr)

    @property
    def n_layer(self) -> int:
        """The number of layers."""
        return llama.llama_model_n_layer(self.ptr)

    @property
    def n_head(self) -> int:
        """The number of attention heads."""
        return llama.llama_model_n_head(self.ptr)

    @property
    def n_head_kv(self) -> int:
        """The number of key and value heads."""
        return llama.llama_model_n_head_kv(self.ptr)

    @property
    def n_swa(self) -> int:
        """The size of the sliding attention window in tokens, 0 for none."""
        return llama.llama_model_n_swa(self.ptr)

    @property
    def n_cls_out(self) -> int:
        """The number of scores that a classifier (pooling "rank") returns."""
        return llama.llama_model_n_cls_out(self.ptr)

    @property
    def n_vocab(self) -> int:
        """The number of tokens of the vocabulary."""
        return self.tokenizer.n_tokens

    @property
    def has_encoder(self) -> bool:
        """Whether Context.encode must run first."""
        return llama.llama_model_has_encoder(self.ptr)

    @property
    def has_decoder(self) -> bool:
        """Whether the model can generate tokens with Context.decode."""
        return llama.llama_model_has_decoder(self.ptr)

    @property
    def decoder_start_token(self) -> int | None:
        """The first token of the decoder of an encoder-decoder model."""
        token = llama.llama_model_decoder_start_token(self.ptr)
        return None if token < 0 else token

    @property
    def is_recurrent(self) -> bool:
        """Whether the memory is a recurrent state, which cannot be cut (Mamba, RWKV)."""
        return llama.llama_model_is_recurrent(self.ptr)

    @property
    def is_hybrid(self) -> bool:
        """Whether attention and recurrent layers are mixed (Jamba, Granite 4)."""
        return llama.llama_model_is_hybrid(self.ptr)

    @property
    def is_diffusion(self) -> bool:
        """Whether the model generates by diffusion (LLaDA, Dream)."""
        return llama.llama_model_is_diffusion(self.ptr)

    def _text(self, read: Callable[..., int], *arguments: object) -> str:
        """Call a getter that fills a buffer and, like snprintf, returns the full length."""
        size = 1024
        while True:
            buffer = ctypes.create_string_buffer(size)
            length = read(self.ptr, *arguments, buffer, size)
            if length < size:
                return buffer.value.decode(errors="replace")
            size = length + 1

    def _free(self, handle: ModelHandle) -> None:
        llama.llama_model_free(handle)


def _load(path: Path, params: ModelParams, progress: ProgressCallback | None) -> ModelHandle:
    error = missing_file(path)
    if error is not None:
        raise error
    left_out = _left_out(path, params) | extra_buffers.needless_types(path, params)
    load = ModelLoad(params, progress)
    position = native_log.position()
    with extra_buffers.hide_buffer_types(left_out):
        # llama.cpp requires the first shard of a split model.
        handle = llama.llama_model_load_from_file(os.fsencode(shards(path)[0]), load.c_params)
    if handle:
        if load.error is None:
            return handle
        llama.llama_model_free(handle)
    if load.error is not None:
        raise load.error
    if load.is_cancelled:
        raise LoadCancelledError(f"the load of {path} was cancelled")
    raise load_error(path, native_log.lines_since(position))


def _left_out(path: Path, params: ModelParams) -> frozenset[str]:
    """Return the CPU's buffer types that must not hold weights of this model."""
    unfit = extra_buffers.unfit_types(path, params)
    if not unfit:
        return unfit
    types = ", ".join(sorted(unfit))
    if params.use_extra_bufts:
        logger.warning(
            "%s: use_extra_bufts is on, but with several sequences in a batch the kernels of %s "
            "compute wrong results for this model; leave it unset to use other kernels",
            path.name,
            types,
        )
        return frozenset()
    logger.info(
        "%s: not using %s: its kernels cannot compute this model's products over several sequences",
        path.name,
        types,
    )
    return unfit
