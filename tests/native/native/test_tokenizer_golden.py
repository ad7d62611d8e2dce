"""The tokenizer equals llama.cpp's golden data for every vocabulary of the pinned source."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llamabind.native.model import Model
from llamabind.native.model_params import ModelParams
from llamabind.native.tokenizer import Tokenizer

pytestmark = pytest.mark.native

# The format of tests/test-tokenizer-0.cpp.
SEPARATOR = "\n__ggml_vocab_test__\n"

WITH_GOLDEN_DATA = (
    "bert-bge",
    "command-r",
    "deepseek-coder",
    "deepseek-llm",
    "falcon",
    "gemma-4",
    "gpt-2",
    "llama-bpe",
    "llama-spm",
    "mpt",
    "phi-3",
    "qwen2",
    "qwen35",
    "refact",
    "starcoder",
)
WITHOUT_GOLDEN_DATA = ("aquila", "baichuan", "gpt-neox", "nomic-bert-moe")

# Every byte that occurs in UTF-8 has a token, so that every text comes back as it was.
BYTE_COMPLETE = (
    "aquila",
    "baichuan",
    "command-r",
    "deepseek-coder",
    "deepseek-llm",
    "gemma-4",
    "gpt-2",
    "gpt-neox",
    "llama-bpe",
    "llama-spm",
    "mpt",
    "phi-3",
    "qwen2",
    "qwen35",
)
# These lack bytes: falcon, refact and starcoder some lead bytes, WordPiece and Unigram most.
NOT_BYTE_COMPLETE = ("bert-bge", "falcon", "nomic-bert-moe", "refact", "starcoder")

# Texts that together contain every byte of valid UTF-8.
ALL_BYTES = (
    [chr(code) for code in range(0x80)]
    + [chr(code) for code in range(0x80, 0xC0)]
    + [chr(lead << 6) for lead in range(3, 32)]
    + [chr(max(lead << 12, 0x800)) for lead in range(16) if lead != 13]
    + ["\ud000"]
    + [chr(max(plane << 18, 0x10000)) for plane in range(5)]
)


@pytest.fixture(scope="module")
def tokenizers(vocab_dir: Path) -> Iterator[dict[str, Tokenizer]]:
    names = WITH_GOLDEN_DATA + WITHOUT_GOLDEN_DATA
    models = {
        name: Model(vocab_dir / f"ggml-vocab-{name}.gguf", ModelParams(vocab_only=True))
        for name in names
    }
    yield {name: model.tokenizer for name, model in models.items()}
    for model in models.values():
        model.close()


def _golden_cases(vocab_dir: Path, name: str) -> list[tuple[str, list[int]]]:
    file = vocab_dir / f"ggml-vocab-{name}.gguf"
    texts = file.with_suffix(".gguf.inp").read_bytes().decode().split(SEPARATOR)
    lines = file.with_suffix(".gguf.out").read_text().splitlines()
    # There is no text after the last separator.
    expected = [[int(token) for token in line.split()] for line in lines]
    assert len(texts) in (len(expected), len(expected) + 1)
    return list(zip(texts, expected, strict=False))


def test_exactly_15_vocabularies_have_golden_data(vocab_dir, capsys):
    files = sorted(vocab_dir.glob("ggml-vocab-*.gguf"))
    names = [file.stem.removeprefix("ggml-vocab-") for file in files]
    golden = [name for name, file in zip(names, files, strict=True) if _has_golden_data(file)]
    assert sorted(names) == sorted(WITH_GOLDEN_DATA + WITHOUT_GOLDEN_DATA)
    assert tuple(golden) == WITH_GOLDEN_DATA
    assert len(golden) == 15
    with capsys.disabled():
        print(f"\n{len(golden)} vocabularies with golden data: {', '.join(golden)}")
        print(f"without, only loaded and round-tripped: {', '.join(WITHOUT_GOLDEN_DATA)}")


def _has_golden_data(file: Path) -> bool:
    return all(file.with_suffix(f".gguf{end}").is_file() for end in (".inp", ".out"))


@pytest.mark.parametrize("name", WITH_GOLDEN_DATA)
def test_every_golden_text_has_its_golden_tokens(tokenizers, vocab_dir, name, capsys):
    cases = _golden_cases(vocab_dir, name)
    assert len(cases) > 40
    for text, expected in cases:
        assert tokenizers[name].encode(text, add_special=False) == expected, repr(text)
    with capsys.disabled():
        print(f"\n{name}: {len(cases)} golden texts equal", end="")


@pytest.mark.parametrize("name", WITHOUT_GOLDEN_DATA)
def test_a_vocabulary_without_golden_data_round_trips_plain_text(tokenizers, name):
    tokenizer = tokenizers[name]
    text = "the quick brown fox jumps over 3 lazy dogs"
    tokens = tokenizer.encode(text, add_special=False)
    assert 5 <= len(tokens) <= len(text)
    assert tokenizer.decode(tokens).strip() == text
    assert b"".join(tokenizer.piece(token) for token in tokens).decode().strip() == text


def _comes_back(tokenizer: Tokenizer, text: str) -> bool:
    tokens = tokenizer.encode(text, add_special=False)
    pieces = b"".join(tokenizer.piece(token, special=True) for token in tokens)
    # SPM puts a space before the text.
    return pieces in (text.encode(), b" " + text.encode())


def test_the_texts_of_all_bytes_have_all_bytes():
    found = {byte for text in ALL_BYTES for byte in text.encode()}
    assert found == set(range(256)) - {0xC0, 0xC1} - set(range(0xF5, 0x100))


def test_which_vocabularies_are_byte_complete(tokenizers, capsys):
    complete = [
        name
        for name, tokenizer in sorted(tokenizers.items())
        if all(_comes_back(tokenizer, text) for text in ALL_BYTES)
    ]
    assert tuple(complete) == BYTE_COMPLETE
    assert sorted(BYTE_COMPLETE + NOT_BYTE_COMPLETE) == sorted(tokenizers)
    with capsys.disabled():
        print(f"\n{len(complete)} byte-complete vocabularies: {', '.join(complete)}")


@pytest.mark.parametrize("name", BYTE_COMPLETE)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=st.text(max_size=40))
def test_any_text_comes_back_from_a_byte_complete_vocabulary(tokenizers, name, text):
    assert _comes_back(tokenizers[name], text)


@pytest.mark.parametrize("name", BYTE_COMPLETE)
@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=st.text(max_size=40))
def test_decode_is_the_inverse_of_encode(tokenizers, name, text):
    tokenizer = tokenizers[name]
    decoded = tokenizer.decode(tokenizer.encode(text, add_special=False), unparse_special=True)
    # Some files ask for spaces before punctuation to be cleaned away (clean_spaces of
    # src/llama-vocab.cpp), and nothing else may differ.
    assert decoded.replace(" ", "") == text.replace(" ", "")
