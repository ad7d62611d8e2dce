"""Infiller, with a vocabulary that has fill-in-the-middle tokens."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from llamabind.errors import InvalidParameterError, PromptTooLongError
from llamabind.generation.infill import Gap, Infiller
from llamabind.native.model import Model
from llamabind.native.model_params import ModelParams
from llamabind.native.tokenizer import Tokenizer

pytestmark = pytest.mark.native


def _load(vocab_dir: Path, name: str) -> Model:
    return Model(vocab_dir / f"ggml-vocab-{name}.gguf", ModelParams(vocab_only=True))


@pytest.fixture(scope="module")
def tokenizer(vocab_dir: Path) -> Iterator[Tokenizer]:
    with _load(vocab_dir, "refact") as model:
        yield model.tokenizer


def _text(tokenizer: Tokenizer, tokens: tuple[int, ...]) -> str:
    return tokenizer.decode(tokens, unparse_special=True)


def test_prefix_suffix_and_middle_are_in_the_order_of_training(tokenizer):
    special = tokenizer.special
    gap = Gap(prefix=("int main() {\n",), suffix=("}\n",), begun="  return")
    tokens = Infiller(tokenizer, 512).tokens(gap, 16)
    core = tokens[tokens.index(special.fim_pre) :]
    assert core[-1] == special.fim_mid
    suffix_at = core.index(special.fim_suf)
    assert _text(tokenizer, core[1:suffix_at]) == "int main() {\n  return"
    assert _text(tokenizer, core[suffix_at + 1 : -1]) == "}\n"


def test_control_tokens_written_in_code_are_text(tokenizer):
    gap = Gap(prefix=("<fim_middle>",), suffix=("b", 65))
    tokens = Infiller(tokenizer, 512).tokens(gap, 16)
    assert tokens.count(tokenizer.special.fim_mid) == 1
    assert tokens[-2] == 65


def test_other_files_fill_the_rest_of_the_context_and_lose_their_beginning(tokenizer):
    files = (("a.h", "first " * 50), ("b.h", "second " * 50))
    gap = Gap(prefix=("p",), suffix=("s",), files=files)
    everything = Infiller(tokenizer, 4096).tokens(gap, 16)
    assert "first" in _text(tokenizer, everything)
    short = Infiller(tokenizer, 80).tokens(gap, 16)
    assert len(short) == 80 - 16 - 1
    assert "first" not in _text(tokenizer, short)
    assert "second" in _text(tokenizer, short)
    assert everything[-len(short) :] == short


def test_a_prefix_and_suffix_longer_than_the_context_are_refused(tokenizer):
    with pytest.raises(PromptTooLongError):
        Infiller(tokenizer, 64).tokens(Gap(prefix=("word " * 100,), suffix=()), 4)


def test_a_model_that_cannot_fill_gaps_names_the_missing_tokens(vocab_dir):
    with (
        _load(vocab_dir, "llama-spm") as model,
        pytest.raises(InvalidParameterError, match="no token for prefix, suffix, middle"),
    ):
        Infiller(model.tokenizer, 64).tokens(Gap(prefix=("a",), suffix=("b",)), 4)
