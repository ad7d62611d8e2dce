"""A byte-level BPE vocabulary: trained here, tokenised the same way by llama.cpp."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import regex

# llama.cpp's LLAMA_VOCAB_PRE_TYPE_QWEN2 (src/llama-vocab.cpp), named "qwen2" in a GGUF.
PRE_TOKENIZER = "qwen2"
_WORD = regex.compile(
    r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
    r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

CONTROL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
# Plain text to the template's parser, yet one token each, as in Qwen's own vocabulary.
MARKUP_TOKENS = (
    "<tools>", "</tools>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>",
)  # fmt: skip
SPECIAL_TOKENS = CONTROL_TOKENS + MARKUP_TOKENS
_SPECIAL = regex.compile("(" + "|".join(regex.escape(token) for token in SPECIAL_TOKENS) + ")")

Pair = tuple[str, str]


def _byte_alphabet() -> list[str]:
    """GPT-2's printable stand-in character for each of the 256 bytes."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    alphabet, extra = [], 0
    for byte in range(256):
        if byte in printable:
            alphabet.append(chr(byte))
        else:
            alphabet.append(chr(256 + extra))
            extra += 1
    return alphabet


_ALPHABET = _byte_alphabet()


def _words(text: str) -> Iterable[str]:
    """The text's pre-tokenised words in the byte alphabet, without the special tokens."""
    for word in _WORD.findall(text):
        yield "".join(_ALPHABET[byte] for byte in word.encode("utf-8"))


def _merged(parts: list[str], pair: Pair) -> list[str]:
    result: list[str] = []
    index = 0
    while index < len(parts):
        if tuple(parts[index : index + 2]) == pair:
            result.append(parts[index] + parts[index + 1])
            index += 2
        else:
            result.append(parts[index])
            index += 1
    return result


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """All tokens by id (bytes, merges, then the special ones) and the merges in rank order."""

    tokens: tuple[str, ...]
    merges: tuple[Pair, ...]

    @property
    def n_plain(self) -> int:
        return len(self.tokens) - len(SPECIAL_TOKENS)


def train_vocabulary(texts: Iterable[str], n_tokens: int) -> Vocabulary:
    """Learn merges from the texts until the vocabulary has `n_tokens` entries.

    Ties are broken by the pair itself, so the same texts always give the same vocabulary.
    """
    counts: Counter[str] = Counter()
    for text in texts:
        for part in _SPECIAL.split(text):
            if part not in SPECIAL_TOKENS:
                counts.update(_words(part))
    words = {word: list(word) for word in counts}
    pair_counts: Counter[Pair] = Counter()
    where: defaultdict[Pair, set[str]] = defaultdict(set)
    for word, parts in words.items():
        for pair in pairwise(parts):
            pair_counts[pair] += counts[word]
            where[pair].add(word)
    merges: list[Pair] = []
    while 256 + len(merges) + len(SPECIAL_TOKENS) < n_tokens:
        best = max(pair_counts, key=lambda pair: (pair_counts[pair], pair))
        merges.append(best)
        for word in where.pop(best):
            parts = words[word]
            for pair in pairwise(parts):
                pair_counts[pair] -= counts[word]
            words[word] = parts = _merged(parts, best)
            for pair in pairwise(parts):
                pair_counts[pair] += counts[word]
                where[pair].add(word)
        del pair_counts[best]
    plain = (*_ALPHABET, *(left + right for left, right in merges))
    return Vocabulary((*plain, *SPECIAL_TOKENS), tuple(merges))


class Encoder:
    """Text to token ids, as llama.cpp does it with parse_special."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self._ids = {token: index for index, token in enumerate(vocabulary.tokens)}
        self._ranks = {pair: rank for rank, pair in enumerate(vocabulary.merges)}
        self._cache: dict[str, list[int]] = {}

    def id(self, token: str) -> int:
        return self._ids[token]

    def encode(self, text: str) -> list[int]:
        ids: list[int] = []
        for part in _SPECIAL.split(text):
            if part in SPECIAL_TOKENS:
                ids.append(self._ids[part])
                continue
            for word in _words(part):
                ids.extend(self._encode_word(word))
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        data = bytearray()
        for token in (self.vocabulary.tokens[index] for index in ids):
            if token in SPECIAL_TOKENS:
                data += token.encode()
            else:
                data += bytes(_ALPHABET.index(char) for char in token)
        return data.decode("utf-8", errors="replace")

    def _encode_word(self, word: str) -> list[int]:
        if word not in self._cache:
            parts = list(word)
            while len(parts) > 1:
                pairs = list(pairwise(parts))
                best = min(pairs, key=lambda pair: self._ranks.get(pair, len(self._ranks)))
                if best not in self._ranks:
                    break
                parts = _merged(parts, best)
            self._cache[word] = [self._ids[part] for part in parts]
        return self._cache[word]
