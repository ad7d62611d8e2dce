"""Parsers of flags that take one of a few words, those of llama-server included."""

from collections.abc import Callable

from server.cli.flag import boolean
from server.cli.values.lists import words
from server.cli.values.numbers import integer, whole
from server.protocol.job import EFFORTS

# llama-server's numbers (common/arg.cpp): 0 generic, 1 error, 2 warning, 3 info, 4 trace, 5 debug.
_VERBOSITY = ("error", "error", "warning", "info", "debug", "debug")


def choice(*words: str) -> Callable[[str], str]:
    """One of `words`."""

    def parse(text: str) -> str:
        if text not in words:
            raise ValueError(f"{text!r} is not one of {', '.join(words)}")
        return text

    return parse


def verbosity(text: str) -> str:
    """The log level for llama-server's number, 0 to 5."""
    return _VERBOSITY[integer(0, len(_VERBOSITY) - 1)(text)]


def gpu_layers(text: str) -> int | None:
    """Layers on the GPU; `auto` is None, as many as fit, and `all` is -1."""
    return {"auto": None, "all": -1}.get(text, -2) if text in ("auto", "all") else whole(text)


def parallel(text: str) -> int | None:
    """Sequences at once; None for -1 and `auto`, where the engine decides."""
    return None if text in ("auto", "-1") else whole(text)


def speculation(text: str) -> str:
    """A kind of speculation, by this server's name or by llama-server's for the same or a similar
    one: its other kinds of n-grams differ in how they find the tokens that are repeated.
    """
    same = {
        "none": "off",
        "draft-simple": "draft",
        "draft-eagle3": "draft",
        "draft-mtp": "mtp",
    }
    kinds = {
        choice("auto", "off", "ngram", "draft", "mtp")(
            "ngram" if word.startswith("ngram-") else same.get(word, word)
        )
        for word in words(text)
    }
    if len(kinds) != 1:
        raise ValueError(f"{text!r} names several kinds; choose draft, mtp or ngram")
    return kinds.pop()


def yes_no_or_auto(text: str) -> bool | None:
    """True, False, or None for auto, in the words that llama-server accepts."""
    return None if text.strip().lower() in ("auto", "-1") else boolean(text)


def on_off_or_auto(text: str) -> str:
    """One of "on", "off" and "auto", from the words that llama-server accepts."""
    word = yes_no_or_auto(text)
    return "auto" if word is None else "on" if word else "off"


def reasoning_effort(text: str) -> str | None:
    """A level; None for `default`, the template's own."""
    words = ("default", *EFFORTS)
    return None if choice(*words)(text) == "default" else text
