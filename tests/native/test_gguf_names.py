"""Names that the server gives for files that nobody has loaded are llama.cpp's own."""

import pytest
from random_gguf import LlamaShape, write_random_llama

from llamabind import read_gguf_header
from llamabind._capi import llama
from llamabind.gguf_names import FILE_TYPES

pytestmark = pytest.mark.native

_UNKNOWN = "unknown, may not work"
_MORE_THAN_THERE_ARE = 128


def test_file_types_have_llama_cpps_names():
    names = {number: llama.llama_ftype_name(number).decode() for number in range(_MORE_THAN_THERE_ARE)}
    assert {number: name for number, name in names.items() if name != _UNKNOWN} == FILE_TYPES


@pytest.mark.parametrize("name", ["llama-spm", "gpt-2", "bert-bge"])
def test_vocabularies_have_llama_cpps_type_and_size(name, vocab_dir, vocab_model):
    path = vocab_dir / f"ggml-vocab-{name}.gguf"
    header = read_gguf_header(path)
    model = vocab_model(path)
    assert header.vocabulary_size == model.n_vocab
