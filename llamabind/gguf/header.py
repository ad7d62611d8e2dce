"""The header of a GGUF file, read in pure Python with every number checked before it is used.

For listing untrusted files: no native code, no numpy, bounded work and memory. The format is that
of ggml/src/gguf.cpp (gguf_init_from_reader).

Everything must be inside the file. Further limits: 65,536 metadata entries, 65,536 tensors, keys of
64 KiB, 8 million strings in all arrays together. A string value over 1 MiB is skipped.
"""

import os
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from llamabind.errors import GgufError
from llamabind.gguf.bounded_file import U32, U64, BoundedFile
from llamabind.gguf.header_fields import GgufArray, GgufHeader, Scalar

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_MAX_ENTRIES = 1 << 16
_MAX_TENSORS = 1 << 16
_MAX_KEY_BYTES = 1 << 16
_MAX_TENSOR_NAME_BYTES = 63  # GGML_MAX_NAME counts the closing NUL
_MAX_KEPT_STRING_BYTES = 1 << 20
_MAX_ARRAY_STRINGS = 1 << 23
_MAX_DIMENSIONS = 4
_INT64_MAX = (1 << 63) - 1
_MIN_ENTRY_BYTES = 8 + 1 + 4 + 1
_MIN_TENSOR_BYTES = 8 + 4 + 4 + 8
_DEFAULT_ALIGNMENT = 32

_STRING = 8
_ARRAY = 9
_SCALARS: Mapping[int, tuple[str, struct.Struct]] = {
    0: ("u8", struct.Struct("<B")),
    1: ("i8", struct.Struct("<b")),
    2: ("u16", struct.Struct("<H")),
    3: ("i16", struct.Struct("<h")),
    4: ("u32", struct.Struct("<I")),
    5: ("i32", struct.Struct("<i")),
    6: ("f32", struct.Struct("<f")),
    7: ("bool", struct.Struct("<?")),
    10: ("u64", struct.Struct("<Q")),
    11: ("i64", struct.Struct("<q")),
    12: ("f64", struct.Struct("<d")),
}

# ggml_type -> (elements per block, bytes per block); ggml/src/ggml.c, type_traits.
# fmt: off
BLOCK_SIZES: Mapping[int, tuple[int, int]] = {
    0: (1, 4), 1: (1, 2), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 30: (1, 2),
    2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 36), 20: (32, 18),
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292),
    16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 21: (256, 110), 22: (256, 82),
    23: (256, 136), 29: (256, 56), 34: (256, 54), 35: (256, 66),
    39: (32, 17), 40: (64, 36), 41: (128, 18), 42: (64, 18),
}
# fmt: on


def read_gguf_header(path: str | os.PathLike[str]) -> GgufHeader:
    """Read the header of the GGUF file at `path`.

    Raises GgufError, and only that, if the file is not a regular file, not readable, not GGUF, of a
    version that llama.cpp no longer reads, truncated (also in the tensor data), or contradicts
    itself.
    """
    with _parser(path) as parser:
        return parser.parse()


def read_context_length(path: str | os.PathLike[str]) -> int | None:
    """Read the training context in tokens, None if the header names none.

    Reads no further: the vocabulary mostly follows, whose strings take longer than all the rest.
    Raises GgufError as read_gguf_header does, for as much as it reads.
    """
    with _parser(path) as parser:
        metadata = parser.parse_metadata(lambda known: _context_length(known) is not None)
        return _context_length(metadata)


def read_weight_types(path: str | os.PathLike[str]) -> tuple[int | None, bool]:
    """Read `general.file_type`, and whether the model has experts.

    Reads no further than to the tokenizer's entries, as read_context_length. Raises GgufError.
    """
    with _parser(path) as parser:
        metadata = parser.parse_metadata(lambda known: "tokenizer.ggml.model" in known)
    architecture, file_type = (
        metadata.get(f"general.{key}") for key in ("architecture", "file_type")
    )
    has_experts = bool(metadata.get(f"{architecture}.expert_count"))
    return file_type if isinstance(file_type, int) else None, has_experts


def read_gguf_shapes(path: str | os.PathLike[str]) -> Mapping[str, tuple[int, ...]]:
    """Read the shapes of all tensors by name, with the fastest-varying dimension first (ggml).

    Raises GgufError as read_gguf_header does.
    """
    with _parser(path) as parser:
        parser.parse()
        return parser.shapes


def _context_length(metadata: Mapping[str, Scalar]) -> int | None:
    found = metadata.get(f"{metadata.get('general.architecture')}.context_length")
    return found if isinstance(found, int) and not isinstance(found, bool) else None


@contextmanager
def _parser(path: str | os.PathLike[str]) -> Iterator["_HeaderParser"]:
    try:
        with BoundedFile(path) as reader:
            yield _HeaderParser(reader)
    except OSError as error:
        raise GgufError(f"the file cannot be read: {error.strerror or error}") from error


class _HeaderParser:
    """Reads the file once, from front to back."""

    def __init__(self, reader: BoundedFile) -> None:
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._reader = reader
        self._metadata: dict[str, Scalar] = {}
        self._arrays: dict[str, GgufArray] = {}
        self._strings_left = _MAX_ARRAY_STRINGS

    def parse(self) -> GgufHeader:
        version, tensor_count, entry_count = self._read_start()
        for _ in range(entry_count):
            self._read_entry()
        alignment = self._alignment()
        parameter_count, data_bytes = self._read_tensors(tensor_count)
        if tensor_count:
            data_start = -(-self._reader.position // alignment) * alignment
            self._require_data(data_start + data_bytes)
        return GgufHeader(
            version,
            tensor_count,
            parameter_count,
            self._metadata,
            self._arrays,
            self._classifier_outputs(),
        )

    def parse_metadata(
        self, is_enough: Callable[[Mapping[str, Scalar]], bool]
    ) -> Mapping[str, Scalar]:
        """Read entries until they are enough, or all."""
        _, _, entry_count = self._read_start()
        for _ in range(entry_count):
            self._read_entry()
            if is_enough(self._metadata):
                break
        return self._metadata

    def _read_start(self) -> tuple[int, int, int]:
        """Return the version, and the numbers of tensors and of metadata entries."""
        version = self._read_version()
        tensor_count = self._read_count("tensors", _MAX_TENSORS, _MIN_TENSOR_BYTES)
        entry_count = self._read_count("metadata entries", _MAX_ENTRIES, _MIN_ENTRY_BYTES)
        return version, tensor_count, entry_count

    def _read_version(self) -> int:
        if self._reader.size < len(_MAGIC) or self._reader.read(len(_MAGIC)) != _MAGIC:
            raise GgufError("this is not a GGUF file: it does not start with the letters GGUF")
        version = self._reader.number(U32)
        if version not in _VERSIONS:
            swapped = version & 0xFFFF == 0
            hint = " (made for a big-endian machine?)" if swapped else ""
            raise GgufError(f"GGUF version {version} is not supported, only 2 and 3 are{hint}")
        return version

    def _read_count(self, what: str, limit: int, min_bytes: int) -> int:
        count = self._reader.number(U64)
        if count > limit:
            raise GgufError(f"the header claims {count} {what}, more than the limit of {limit}")
        if count * min_bytes > self._reader.remaining:
            raise GgufError(f"the header claims {count} {what}, more than the file can hold")
        return count

    def _read_entry(self) -> None:
        key = self._reader.text(_MAX_KEY_BYTES, "a metadata key")
        if not key or key in self._metadata or key in self._arrays:
            raise GgufError(f"metadata key {key!r} is empty or appears twice")
        kind = self._reader.number(U32)
        if kind == _ARRAY:
            self._arrays[key] = self._skip_array(key)
        elif kind == _STRING:
            length = self._reader.length(f"the value of {key!r}")
            if length > _MAX_KEPT_STRING_BYTES:
                self._reader.skip(length)
            else:
                self._metadata[key] = self._reader.read(length).decode("utf-8", "replace")
        elif kind in _SCALARS:
            self._metadata[key] = self._reader.scalar(_SCALARS[kind][1])
        else:
            raise GgufError(f"metadata key {key!r} has the unknown type {kind}")

    def _skip_array(self, key: str) -> GgufArray:
        kind = self._reader.number(U32)
        count = self._reader.number(U64)
        if kind == _STRING:
            if count > self._strings_left or count * U64.size > self._reader.remaining:
                raise GgufError(
                    f"array {key!r} claims {count} strings, more than the limit or the file allows"
                )
            self._strings_left -= count
            self._reader.skip_strings(count)
            return GgufArray("str", count)
        if kind not in _SCALARS:
            what = "is an array of arrays" if kind == _ARRAY else f"has the unknown type {kind}"
            raise GgufError(f"array {key!r} {what}")
        name, layout = _SCALARS[kind]
        self._reader.skip(count * layout.size)
        return GgufArray(name, count)

    def _alignment(self) -> int:
        value = self._metadata.get("general.alignment", _DEFAULT_ALIGNMENT)
        if not isinstance(value, int) or value <= 0 or value & (value - 1):
            raise GgufError(f"general.alignment is {value!r}, not a power of two")
        return value

    def _read_tensors(self, count: int) -> tuple[int, int]:
        """Return the number of weights, and the offset in the data at which the last one ends."""
        parameters = end = 0
        for _ in range(count):
            name = self._reader.text(_MAX_TENSOR_NAME_BYTES, "a tensor name")
            if name in self.shapes:
                raise GgufError(f"tensor {name!r} appears twice")
            elements, size = self._read_shape(name)
            parameters += elements
            end = max(end, self._reader.number(U64) + size)
        return parameters, end

    def _read_shape(self, name: str) -> tuple[int, int]:
        """Return elements and bytes of one tensor; an unknown type counts as 0 bytes."""
        n_dimensions = self._reader.number(U32)
        if n_dimensions > _MAX_DIMENSIONS:
            raise GgufError(f"tensor {name!r} claims {n_dimensions} dimensions")
        shape = [self._reader.number(U64) for _ in range(n_dimensions)]
        elements = 1
        for length in shape:
            elements *= length
            if length > _INT64_MAX or elements > _INT64_MAX:
                raise GgufError(f"tensor {name!r} claims the impossible shape {shape}")
        self.shapes[name] = tuple(shape)
        block_elements, block_bytes = BLOCK_SIZES.get(self._reader.number(U32), (1, 0))
        if (shape[0] if shape else 1) % block_elements:
            raise GgufError(
                f"a row of tensor {name!r} is not a multiple of {block_elements} elements"
            )
        return elements, elements // block_elements * block_bytes

    def _classifier_outputs(self) -> int:
        """The rows of the tensor that ends the classifier (llm_graph_context::build_pooling)."""
        # In Jina's rerankers "cls" itself is the output; elsewhere it is a layer before it.
        shape = self.shapes.get("cls.output.weight") or self.shapes.get("cls.weight", ())
        n_outputs = shape[1] if len(shape) > 1 else len(shape)
        return n_outputs if "cls.output.weight" in self.shapes or n_outputs == 1 else 0

    def _require_data(self, end: int) -> None:
        if end > self._reader.size:
            raise GgufError(
                f"the file is truncated: it has {self._reader.size} bytes, its tensors need {end}"
            )
