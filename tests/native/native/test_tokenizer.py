"""Tokenizer: input on which native code would abort works or raises an exception."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from llamabind._capi.enums import llama_token_attr
from llamabind.errors import HandleClosedError, TokenizeError
from llamabind.native.model import Model
from llamabind.native.model_params import ModelParams
from llamabind.native.tokenizer import Tokenizer
from tests.support.random_gguf import Value, encode_entries, write_gguf

pytestmark = pytest.mark.native


@pytest.fixture(scope="module")
def tokenizer(vocab_dir: Path) -> Iterator[Tokenizer]:
    with _load(vocab_dir, "llama-spm") as model:
        yield model.tokenizer


def _load(vocab_dir: Path, name: str) -> Model:
    return Model(vocab_dir / f"ggml-vocab-{name}.gguf", ModelParams(vocab_only=True))


def test_special_tokens_are_known(tokenizer):
    assert (tokenizer.bos, tokenizer.eos) == (1, 2)
    assert tokenizer.special.mask is None
    assert tokenizer.add_bos
    assert not tokenizer.add_eos
    assert tokenizer.is_eog(2)
    assert not tokenizer.is_eog(3)
    assert 2 in tokenizer.eog_tokens
    assert tokenizer.suppressed_tokens == ()


def test_tokens_that_only_parse_special_reads_are_those_with_their_attributes(
    tokenizer: Tokenizer,
) -> None:
    flags = llama_token_attr
    wanted = flags.LLAMA_TOKEN_ATTR_CONTROL | flags.LLAMA_TOKEN_ATTR_UNKNOWN
    expected = [t for t in range(tokenizer.n_tokens) if tokenizer.attributes(t) & wanted]
    assert expected
    assert list(tokenizer.control_texts) == [tokenizer.text(t) for t in expected]
    ends = [token for token in range(tokenizer.n_tokens) if tokenizer.is_eog(token)]
    assert list(tokenizer.eog_tokens) == ends


def test_add_special_puts_bos_in_front_and_remove_special_takes_it_away(tokenizer):
    tokens = tokenizer.encode("Hello world", add_special=True)
    assert tokens[0] == 1
    assert tokenizer.encode("Hello world", add_special=False) == tokens[1:]
    assert tokenizer.decode(tokens[1:]) == "Hello world"
    # llama_detokenize leaves the space prefix where it removes BOS.
    assert tokenizer.decode(tokens, remove_special=True, unparse_special=True) == " Hello world"
    assert tokenizer.decode(tokens, unparse_special=True) == "<s> Hello world"


def test_special_tokens_are_text_unless_parse_special_is_set(tokenizer):
    assert tokenizer.encode("<s>", add_special=False, parse_special=True) == [1]
    assert 1 not in tokenizer.encode("<s>", add_special=False)


def test_an_empty_text_has_no_tokens_of_its_own(tokenizer):
    assert tokenizer.encode("", add_special=False) == []
    assert tokenizer.decode([]) == ""


def test_a_nul_character_is_text_like_any_other(tokenizer):
    tokens = tokenizer.encode("a\0b", add_special=False)
    assert tokenizer.decode(tokens) == "a\0b"


def test_a_lone_surrogate_is_refused_with_its_place(tokenizer):
    with pytest.raises(TokenizeError, match="lone surrogate at position 2"):
        tokenizer.encode("ab\ud800")


def test_bytes_are_utf8_or_refused(tokenizer):
    assert tokenizer.encode("é".encode()) == tokenizer.encode("é")
    with pytest.raises(TokenizeError, match="not UTF-8: invalid at byte 1"):
        tokenizer.encode(b"a\xff")


def test_half_a_character_decodes_to_the_replacement_character(tokenizer):
    first, *_ = tokenizer.encode("\U00013000", add_special=False)[1:]
    assert tokenizer.piece(first) == b"\xf0"
    assert tokenizer.decode([first]) == "\ufffd"
    assert tokenizer.decode_bytes([first]) == b"\xf0"


@pytest.mark.parametrize("token", [-1, 32_000, 2**31, -(2**31)])
def test_a_token_beyond_the_vocabulary_is_refused_everywhere(tokenizer, token):
    for use in (
        tokenizer.piece,
        tokenizer.text,
        tokenizer.score,
        tokenizer.attributes,
        tokenizer.is_eog,
        tokenizer.is_control,
        lambda bad: tokenizer.decode([5, bad]),
        lambda bad: tokenizer.decode([bad, 5]),
    ):
        with pytest.raises(TokenizeError, match=r"is not in 0\.\.31999"):
            use(token)


def test_pieces_of_special_tokens_are_empty_unless_requested(tokenizer):
    assert tokenizer.piece(1) == b""
    assert tokenizer.piece(1, special=True) == b"<s>"
    assert tokenizer.piece(1) == b""


def test_pieces_add_up_to_the_text(tokenizer):
    text = "naïve 日本語 😁 tokens"
    tokens = tokenizer.encode(text, add_special=False)
    assert b"".join(map(tokenizer.piece, tokens)) == b" " + text.encode()


def test_the_vocabularys_own_view_of_a_token(tokenizer):
    assert tokenizer.text(13) == "<0x0A>"
    assert tokenizer.attributes(13).name == "LLAMA_TOKEN_ATTR_BYTE"
    assert tokenizer.is_control(1)
    assert tokenizer.score(300) < 0


def test_many_threads_may_use_a_tokenizer_at_once(tokenizer):
    text = "the quick brown fox " * 50
    expected = tokenizer.encode(text)
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(tokenizer.encode(text))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 8


@pytest.mark.parametrize("name", ["deepseek-coder", "falcon"])
def test_a_very_long_word_does_not_overflow_the_stack(vocab_dir, name):
    text = "!" * 60_000  # 26,000 are too many for 8 MiB
    with _load(vocab_dir, name) as model:
        tokens = model.tokenizer.encode(text, add_special=False)
        assert b"".join(map(model.tokenizer.piece, tokens)) == text.encode()


def test_a_word_too_long_for_any_stack_is_refused(vocab_dir):
    with _load(vocab_dir, "gpt-2") as model:
        with pytest.raises(TokenizeError, match="1100000 consecutive bytes"):
            model.tokenizer.encode("a" * 1_100_000)
        words = "ab " * 400_000
        assert len(model.tokenizer.encode(words)) >= 400_000


def test_the_tokenizer_dies_with_its_model(vocab_dir):
    model = _load(vocab_dir, "llama-spm")
    model.close()
    for use in (lambda: model.tokenizer.encode("a"), lambda: model.tokenizer.piece(5)):
        with pytest.raises(HandleClosedError, match="the Model is closed"):
            use()


def test_a_model_without_vocabulary_has_no_tokens(tmp_path):
    entries: dict[str, Value] = {
        "general.architecture": "llama",
        "llama.context_length": 64,
        "llama.embedding_length": 32,
        "llama.block_count": 1,
        "llama.feed_forward_length": 32,
        "llama.attention.head_count": 1,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.vocab_size": 100,
        "tokenizer.ggml.model": "no_vocab",
    }
    encoded = encode_entries(entries)
    path = write_gguf(tmp_path / "no-vocab.gguf", encoded, {})
    with Model(path, ModelParams(vocab_only=True)) as model:
        for use in (
            lambda: model.tokenizer.encode("a"),
            lambda: model.tokenizer.decode([1]),
            lambda: model.tokenizer.piece(1),
            lambda: model.tokenizer.is_eog(1),
        ):
            with pytest.raises(TokenizeError, match="no vocabulary"):
                use()
