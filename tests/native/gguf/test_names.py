"""Names that the server shows for files that are not loaded are llama.cpp's own."""

import re
from contextlib import closing
from typing import Any

import pytest
from llama_source import llama_cpp_source

from llamabind import read_gguf_header
from llamabind._capi import llama
from llamabind.gguf.names import FILE_TYPES
from llamabind.gguf.purpose import is_encoder
from llamabind.native.model import Model
from llamabind.native.model_params import ModelParams

pytestmark = pytest.mark.native

_UNKNOWN = "unknown, may not work"
_MORE_THAN_THERE_ARE = 128


def test_file_types_have_llama_cpps_names():
    numbers: Any = range(_MORE_THAN_THERE_ARE)  # also those that llama_ftype lacks
    names = {number: llama.llama_ftype_name(number).decode() for number in numbers}
    assert {number: name for number, name in names.items() if name != _UNKNOWN} == FILE_TYPES


@pytest.mark.parametrize("name", ["llama-spm", "gpt-2", "bert-bge", "gemma-4", "qwen2"])
def test_a_vocabulary_has_llama_cpps_type_and_size_without_a_load(name, vocab_dir):
    path = vocab_dir / f"ggml-vocab-{name}.gguf"
    header = read_gguf_header(path)
    with closing(Model(path, ModelParams(vocab_only=True))) as model:
        assert header.vocabulary_type == model.tokenizer.vocab_type
        assert header.vocabulary_size == model.n_vocab


def test_every_architecture_named_as_an_encoder_counts_as_one():
    source = (llama_cpp_source() / "src" / "llama-arch.cpp").read_text()
    names = set(re.findall(r'\{ LLM_ARCH_\w+,\s+"([^"]+)"', source))
    encoders = {name for name in names if re.search(r"bert|-embed(ding)?$|encoder", name)}
    assert len(encoders) > 8
    assert {name for name in names if is_encoder(name)} == encoders
