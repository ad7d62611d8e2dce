"""The GGUF header reader against files made by hand: good ones, cut ones, lying ones."""

import os
import random
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llamabind.errors import GgufError
from llamabind.gguf.header import read_context_length, read_gguf_header
from llamabind.gguf.header_fields import GgufArray, GgufHeader

_U8, _U32, _F32, _BOOL, _STR, _ARR, _U64 = 0, 4, 6, 7, 8, 9, 10


def _u32(value: int) -> bytes:
    return struct.pack("<I", value)


def _u64(value: int) -> bytes:
    return struct.pack("<Q", value)


def _text(value: str) -> bytes:
    return _u64(len(value.encode())) + value.encode()


def _entry(key: str, kind: int, value: bytes) -> bytes:
    return _text(key) + _u32(kind) + value


def _tensor(name: str, shape: tuple[int, ...], kind: int, offset: int) -> bytes:
    dimensions = b"".join(_u64(length) for length in shape)
    return _text(name) + _u32(len(shape)) + dimensions + _u32(kind) + _u64(offset)


_ENTRIES = (
    _entry("general.architecture", _STR, _text("llama")),
    _entry("general.name", _STR, _text("Tiny ☕")),
    _entry("general.type", _STR, _text("model")),
    _entry("general.file_type", _U32, _u32(7)),
    _entry("llama.context_length", _U32, _u32(2048)),
    _entry("llama.embedding_length", _U64, _u64(128)),
    _entry("llama.block_count", _U32, _u32(4)),
    _entry("llama.rope.freq_base", _F32, struct.pack("<f", 10000.0)),
    _entry("tokenizer.ggml.add_bos_token", _BOOL, b"\1"),
    _entry(
        "tokenizer.ggml.tokens",
        _ARR,
        _u32(_STR) + _u64(3) + _text("<s>") + _text("") + _text("a" * 300),
    ),
    _entry("tokenizer.ggml.scores", _ARR, _u32(_F32) + _u64(3) + bytes(12)),
    _entry("tokenizer.chat_template", _STR, _text("{{ messages }}")),
)
_TENSORS = (_tensor("a.weight", (32, 4), 0, 0), _tensor("b.weight", (64,), 8, 512))
_DATA_BYTES = 512 + 68


def _gguf(
    entries: tuple[bytes, ...] = _ENTRIES,
    tensors: tuple[bytes, ...] = _TENSORS,
    data: int = _DATA_BYTES,
) -> bytes:
    head = b"GGUF" + _u32(3) + _u64(len(tensors)) + _u64(len(entries))
    head += b"".join(entries) + b"".join(tensors)
    return head + bytes(-len(head) % 32) + bytes(data)


def _read(folder: Path, content: bytes) -> GgufHeader:
    path = folder / "model.gguf"
    path.write_bytes(content)
    return read_gguf_header(path)


def test_everything_of_a_good_header_is_read(tmp_path: Path) -> None:
    header = _read(tmp_path, _gguf())
    assert (header.version, header.tensor_count) == (3, 2)
    assert (header.architecture, header.name, header.kind) == ("llama", "Tiny ☕", "model")
    assert header.context_length == 2048
    assert header.embedding_length == 128
    assert header.block_count == 4
    assert (header.file_type, header.file_type_name) == (7, "Q8_0")
    assert header.chat_template == "{{ messages }}"
    assert header.metadata["llama.rope.freq_base"] == 10000.0
    assert header.metadata["tokenizer.ggml.add_bos_token"] is True
    assert header.parameter_count == 32 * 4 + 64
    assert (header.split_count, header.split_no) == (1, 0)


def test_arrays_are_summarised_not_built(tmp_path: Path) -> None:
    header = _read(tmp_path, _gguf())
    assert header.arrays == {
        "tokenizer.ggml.tokens": GgufArray("str", 3),
        "tokenizer.ggml.scores": GgufArray("f32", 3),
    }
    assert "tokenizer.ggml.tokens" not in header.metadata


def test_a_file_cut_at_any_byte_is_a_gguf_error(tmp_path: Path) -> None:
    whole = _gguf()
    path = tmp_path / "model.gguf"
    path.write_bytes(whole)
    for size in range(len(whole) - 1, -1, -1):
        os.truncate(path, size)
        with pytest.raises(GgufError):
            read_gguf_header(path)


def test_the_context_length_is_read_without_what_follows_it(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    whole = _gguf()
    end = whole.index(b"llama.context_length") + len(b"llama.context_length") + 8
    path.write_bytes(whole)
    assert read_context_length(path) == 2048
    # The header's counts must fit the file, so what follows is not cut off but made invalid.
    path.write_bytes(whole[:end] + b"\xff" * (len(whole) - end))
    assert read_context_length(path) == 2048
    path.write_bytes(whole[: end - 1])
    with pytest.raises(GgufError):
        read_context_length(path)


@pytest.mark.parametrize("entries", [_ENTRIES[:4], (_ENTRIES[0],), (_ENTRIES[4],)])
def test_a_header_without_context_length_or_architecture_has_none(
    tmp_path: Path, entries: tuple[bytes, ...]
) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(_gguf(entries))
    assert read_context_length(path) is None


def test_a_download_that_stopped_is_called_truncated(tmp_path: Path) -> None:
    with pytest.raises(GgufError, match=r"truncated: it has \d+ bytes, its tensors need \d+"):
        _read(tmp_path, _gguf(data=_DATA_BYTES - 1))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "not a GGUF file"),
        (b"PK\3\4" + bytes(60), "not a GGUF file"),
        (b"GGUF" + _u32(1) + bytes(60), "version 1 is not supported"),
        (b"GGUF" + _u32(99) + bytes(60), "version 99 is not supported"),
        (b"GGUF" + struct.pack(">I", 3) + bytes(60), "big-endian"),
        (b"GGUF" + _u32(3) + _u64(2**63) + _u64(0), "claims 9223372036854775808 tensors"),
        (b"GGUF" + _u32(3) + _u64(60_000) + _u64(0), "more than the file can hold"),
        (b"GGUF" + _u32(3) + _u64(0) + _u64(2**40), "metadata entries"),
        (_gguf((_entry("", _U8, b"\0"),)), "empty"),
        (_gguf((_ENTRIES[0], _ENTRIES[0])), "appears twice"),
        (_gguf((_entry("k", 13, b""),)), "unknown type 13"),
        (_gguf((_entry("k", _ARR, _u32(_ARR) + _u64(1)),)), "array of arrays"),
        (_gguf((_entry("k", _ARR, _u32(77) + _u64(1)),)), "unknown type 77"),
        (_gguf((_entry("k", _ARR, _u32(_STR) + _u64(2**62)),)), "more than the limit or the file"),
        (_gguf((_entry("k", _ARR, _u32(_U64) + _u64(2**62)),)), "ends early"),
        (_gguf((_entry("k", _STR, _u64(2**63)),)), "more than the file has left"),
        (_gguf((_entry("general.alignment", _U32, _u32(0)),)), "power of two"),
        (_gguf((_entry("general.alignment", _STR, _text("32")),)), "power of two"),
        (_gguf(tensors=(_tensor("t", (1,) * 5, 0, 0),)), "5 dimensions"),
        (_gguf(tensors=(_tensor("t", (2**40, 2**40), 0, 0),)), "impossible shape"),
        (_gguf(tensors=(_tensor("t", (33,), 8, 0),)), "not a multiple of 32"),
        (_gguf(tensors=(_tensor("t", (1,), 0, 2**60),)), "truncated"),
        (_gguf(tensors=(_tensor("t" * 64, (1,), 0, 0),)), "limit of 63"),
        (_gguf(tensors=(_TENSORS[0], _TENSORS[0])), "appears twice"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_lying_header_is_refused_with_a_sentence(
    tmp_path: Path, content: bytes, sentence: str
) -> None:
    with pytest.raises(GgufError, match=sentence):
        _read(tmp_path, content)


def test_values_of_the_wrong_type_read_as_absent(tmp_path: Path) -> None:
    header = _read(
        tmp_path,
        _gguf(
            (
                _entry("general.architecture", _U32, _u32(5)),
                _entry("None.context_length", _STR, _text("2048")),
                _entry("split.count", _BOOL, b"\1"),
            )
        ),
    )
    assert header.architecture is None
    assert header.context_length is None
    assert header.split_count == 1


def test_a_huge_string_value_is_skipped(tmp_path: Path) -> None:
    huge = _entry("k", _STR, _text("x" * ((1 << 20) + 1)))
    header = _read(tmp_path, _gguf((huge, *_ENTRIES)))
    assert "k" not in header.metadata
    assert header.architecture == "llama"


def test_strings_longer_than_the_read_window_are_stepped_over(tmp_path: Path) -> None:
    pieces = b"".join(_text("y" * length) for length in (3_000_000, 0, 1_048_570, 7, 2_000_001))
    header = _read(tmp_path, _gguf((_entry("k", _ARR, _u32(_STR) + _u64(5) + pieces), *_ENTRIES)))
    assert header.arrays["k"] == GgufArray("str", 5)
    assert header.block_count == 4


def test_a_large_vocabulary_needs_no_memory_of_its_own(tmp_path: Path) -> None:
    tokens = b"".join(_text(f"token{number}") for number in range(128_000))
    vocabulary = _entry("tokenizer.ggml.tokens", _ARR, _u32(_STR) + _u64(128_000) + tokens)
    header = _read(tmp_path, _gguf((_ENTRIES[0], vocabulary)))
    assert header.arrays["tokenizer.ggml.tokens"].count == 128_000


def test_only_regular_files_are_accepted(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.gguf"
    os.mkfifo(pipe)
    for path in (tmp_path, pipe):
        with pytest.raises(GgufError, match="not a regular file"):
            read_gguf_header(path)
    with pytest.raises(GgufError, match="cannot be read"):
        read_gguf_header(tmp_path / "missing.gguf")


_mutation = st.tuples(st.integers(0, len(_gguf()) - 1), st.binary(min_size=1, max_size=9))


@settings(max_examples=400, deadline=None)
@given(st.lists(_mutation, min_size=1, max_size=4))
def test_mutated_headers_give_a_header_or_a_gguf_error(
    tmp_path_factory: pytest.TempPathFactory, mutations: list[tuple[int, bytes]]
) -> None:
    content = bytearray(_gguf())
    for position, piece in mutations:
        content[position : position + len(piece)] = piece
    path = tmp_path_factory.getbasetemp() / "mutated.gguf"
    path.write_bytes(content)
    _read_or_refuse(path)


def test_random_bytes_after_the_magic_never_raise_anything_else(tmp_path: Path) -> None:
    rng = random.Random(7)
    path = tmp_path / "noise.gguf"
    for _ in range(300):
        path.write_bytes(b"GGUF" + _u32(3) + _u64(rng.randrange(3)) + _u64(2) + rng.randbytes(200))
        _read_or_refuse(path)


def _read_or_refuse(path: Path) -> None:
    try:
        header = read_gguf_header(path)
    except GgufError:
        return
    assert header.tensor_count <= 2**16
