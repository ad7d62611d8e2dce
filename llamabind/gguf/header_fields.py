"""GgufHeader: the fields of a GGUF file's header, by the names of their keys in llama.cpp."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from llamabind.gguf.names import FILE_TYPES, VOCABULARY_TYPES

Scalar: TypeAlias = int | float | bool | str


@dataclass(frozen=True, slots=True)
class GgufArray:
    """An array that was skipped: the name of its element type and its length."""

    element_type: str
    count: int


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """The header of one GGUF file.

    `metadata` has the scalar values and strings by their full key, `arrays` type and length of each
    array; `parameter_count` is the number of weights in this file (one shard of a split model).
    `classifier_outputs` is the number of scores that the file's classifier computes, 0 without one.
    """

    version: int
    tensor_count: int
    parameter_count: int
    metadata: Mapping[str, Scalar]
    arrays: Mapping[str, GgufArray]
    classifier_outputs: int = 0

    @property
    def architecture(self) -> str | None:
        """The model family, such as "llama"."""
        return self._text("general.architecture")

    @property
    def name(self) -> str | None:
        """`general.name`, the name that the model's author chose."""
        return self._text("general.name")

    @property
    def kind(self) -> str | None:
        """`general.type`: "model", "adapter", "mmproj", "imatrix", or None in older files."""
        return self._text("general.type")

    @property
    def file_type(self) -> int | None:
        """The llama_ftype number: the quantisation of most weights."""
        return self._integer("general.file_type")

    @property
    def file_type_name(self) -> str | None:
        """llama.cpp's name of `file_type`, such as "Q4_K - Medium"; None if not known here."""
        return None if self.file_type is None else FILE_TYPES.get(self.file_type)

    @property
    def vocabulary_type(self) -> int | None:
        """The llama_vocab_type number: 1 for SentencePiece's BPE, 2 for GPT-2's, and so on."""
        return VOCABULARY_TYPES.get(self._text("tokenizer.ggml.model") or "")

    @property
    def vocabulary_size(self) -> int | None:
        """The number of tokens in the vocabulary."""
        tokens = self.arrays.get("tokenizer.ggml.tokens")
        return tokens.count if tokens else self._integer(f"{self.architecture}.vocab_size")

    @property
    def context_length(self) -> int | None:
        """The training context in tokens."""
        return self._integer(f"{self.architecture}.context_length")

    @property
    def embedding_length(self) -> int | None:
        """Width of the hidden state."""
        return self._integer(f"{self.architecture}.embedding_length")

    @property
    def block_count(self) -> int | None:
        """Number of layers."""
        return self._integer(f"{self.architecture}.block_count")

    @property
    def split_count(self) -> int:
        """Number of files the model is split into; 1 for a whole model."""
        return self._integer("split.count") or 1

    @property
    def split_no(self) -> int:
        """The index of this file in the split model, from 0."""
        return self._integer("split.no") or 0

    @property
    def chat_template(self) -> str | None:
        """The Jinja source of the default chat template."""
        return self._text("tokenizer.chat_template")

    def _text(self, key: str) -> str | None:
        value = self.metadata.get(key)
        return value if isinstance(value, str) else None

    def _integer(self, key: str) -> int | None:
        value = self.metadata.get(key)
        return value if isinstance(value, int) and not isinstance(value, bool) else None
