"""Sampling fields in the forms that clients write them; a part without meaning is left out.

Each function adds a warning to `ignored` for what it leaves out.
"""

import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from llamabind.sampling.params import MAX_DRY_SEQUENCE_BREAKERS, RANDOM_SEED, known_samplers

_SHOWN: Final = 40
# llama-server's letters (common_sampler_type_to_chr of common/sampling.cpp).
_LETTERS: Final = {
    "d": "dry",
    "k": "top_k",
    "y": "typ_p",
    "p": "top_p",
    "s": "top_n_sigma",
    "m": "min_p",
    "t": "temperature",
    "x": "xtc",
    "i": "infill",
    "e": "penalties",
    "a": "adaptive_p",
}
_SEPARATORS: Final = re.compile(r"[;,\s]+")


def reduced_seed(seed: int) -> int:
    """A seed of any size as one of 32 bits; -1, and LLAMA_DEFAULT_SEED itself, are random.

    No other seed becomes LLAMA_DEFAULT_SEED. JavaScript's largest integer, for example, has the
    same low 32 bits, and a client that sends it expects answers that it can repeat.
    """
    return RANDOM_SEED if seed in (-1, RANDOM_SEED) else seed % RANDOM_SEED


def stops_of(value: str | Sequence[str] | None, name: str, ignored: list[str]) -> tuple[str, ...]:
    """The stop strings, each once. Empty ones, which some clients send, have no effect."""
    stops = (value,) if isinstance(value, str) else value or ()
    if n_empty := sum(not stop for stop in stops):
        ignored.append(f"{name}: {n_empty} empty stop string{'s'[: n_empty > 1]} ignored")
    return tuple(dict.fromkeys(filter(None, stops)))


def samplers_of(value: str | Sequence[str] | None, ignored: list[str]) -> dict[str, Any]:
    """The field `samplers` of SamplingParams, if the request sets it.

    A text is llama-server's letters, or names with separators between them. If no name is known,
    the default samplers are used: without samplers the answers would be noise.
    """
    if value is None:
        return {}
    names = _names(value) if isinstance(value, str) else value
    known, unknown = known_samplers(names)
    if unknown:
        shown = ", ".join(repr(name[:_SHOWN]) for name in unknown[:8])
        ignored.append(f"samplers: unknown names are ignored: {shown}")
        if not known:
            ignored.append("samplers: none of the names is known, so the default samplers are used")
            return {}
    return {"samplers": known}


def breakers_of(value: str | Sequence[str] | None, ignored: list[str]) -> dict[str, Any]:
    """The field `dry_sequence_breakers` of SamplingParams, if the request sets it.

    A text is a JSON list, or its elements without the brackets, as text-generation-webui's clients
    send it, or else one breaker.
    """
    if value is None:
        return {}
    breakers = _listed(value) if isinstance(value, str) else list(value)
    kept = [breaker for breaker in breakers if breaker and "\0" not in breaker]
    if len(kept) < len(breakers):
        n_left_out = len(breakers) - len(kept)
        ignored.append(
            f"dry_sequence_breakers: empty ones and ones with NUL are ignored ({n_left_out})"
        )
    if len(kept) > MAX_DRY_SEQUENCE_BREAKERS:
        used = f"only the first {MAX_DRY_SEQUENCE_BREAKERS} of {len(kept)} are used"
        ignored.append(f"dry_sequence_breakers: {used}")
    return {"dry_sequence_breakers": tuple(kept[:MAX_DRY_SEQUENCE_BREAKERS])}


def _names(text: str) -> list[str]:
    words = [word for word in _SEPARATORS.split(text) if word]
    if len(words) == 1 and not known_samplers(words)[0]:
        return [_LETTERS.get(letter, letter) for letter in words[0]]
    return words


def _listed(text: str) -> list[str]:
    for form in (text, f"[{text}]"):
        try:
            return msgspec.json.decode(form, type=list[str])
        except (msgspec.MsgspecError, UnicodeEncodeError, RecursionError):
            continue
    return [text]
