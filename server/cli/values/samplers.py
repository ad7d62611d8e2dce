"""Parsers of flags that take samplers, or texts that samplers read."""

import re
from collections.abc import Iterable

from llamabind.errors import InvalidParameterError
from llamabind.sampling.params import sampler_names

_SAMPLER_LETTERS = {
    "e": "penalties",
    "d": "dry",
    "s": "top_n_sigma",
    "k": "top_k",
    "y": "typ_p",
    "p": "top_p",
    "m": "min_p",
    "x": "xtc",
    "t": "temperature",
    "i": "infill",
    "a": "adaptive_p",
}
_ESCAPE = re.compile(r"""\\([nrt'"\\])""")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "'": "'", '"': '"', "\\": "\\"}


def sampler_list(text: str) -> tuple[str, ...]:
    """Samplers by name, separated by semicolons as in llama-server, or by commas."""
    return _samplers(filter(None, re.split(r"[;,\s]+", text)))


def sampler_letters(text: str) -> tuple[str, ...]:
    """Samplers by llama.cpp's letters (common_sampler_types_from_chars)."""
    unknown = [letter for letter in text if letter not in _SAMPLER_LETTERS]
    if unknown:
        known = "".join(_SAMPLER_LETTERS)
        raise ValueError(f"{unknown[0]!r} is not the letter of a sampler; known are {known}")
    return tuple(_SAMPLER_LETTERS[letter] for letter in text)


def _samplers(names: Iterable[str]) -> tuple[str, ...]:
    try:
        return sampler_names(names)
    except InvalidParameterError as error:
        raise ValueError(error.message) from None


def breaker(text: str) -> tuple[str, ...]:
    """One sequence breaker of DRY; none for the word "none"."""
    return () if text == "none" else one_text(text)


def one_text(text: str) -> tuple[str, ...]:
    """A text; \\n, \\t and the like stand for characters, as in llama-server."""
    return (_ESCAPE.sub(lambda found: _ESCAPES[found[1]], text),)
