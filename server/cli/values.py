"""Parsers of flag values: text in, checked value out, or a ValueError with a sentence."""

# os.path instead of Path.is_file and the like, which raise where access is denied.
import math
import os
import os.path
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec

from llamabind.errors import InvalidParameterError
from llamabind.sampling.params import RANDOM_SEED, sampler_names
from server.catalogue.model_settings import ModelSettings
from server.cli.flag import boolean

_PREFIX = re.compile(r"(/[\w.~-]+)+", re.ASCII)
# llama-server's numbers (common/arg.cpp): 0 generic, 1 error, 2 warning, 3 info, 4 trace, 5 debug.
_VERBOSITY = ("error", "error", "warning", "info", "debug", "debug")
_MAX_TEXT_FILE = 1 << 18
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
# 1024 CPUs, the most of Linux's own mask.
_MAX_MASK_DIGITS = 256


def integer(low: int, high: int) -> Callable[[str], int]:
    """A whole number from `low` to `high`."""

    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            raise ValueError(f"{text!r} is not a whole number") from None
        if not low <= number <= high:
            raise ValueError(f"{number} is out of range, expected {low} to {high}")
        return number

    return parse


def number(text: str) -> float:
    """A finite number."""
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a number") from None
    if not math.isfinite(value):
        raise ValueError(f"{text!r} is not a finite number")
    return value


def whole(text: str) -> int:
    """A whole number whose range LoadSettings checks."""
    return integer(-(1 << 31), 1 << 31)(text)


def whole_seed(text: str) -> int:
    """A seed: -1, or 32 bits."""
    return integer(-1, RANDOM_SEED)(text)


def temperature(text: str) -> float:
    """A temperature; below 0 it is 0, as in llama-server."""
    return max(0.0, number(text))


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


def seconds(text: str) -> float:
    """Seconds, above 0 and at most a day."""
    value = number(text)
    if not 0 < value <= 86_400:
        raise ValueError(f"{text} is out of range, expected above 0 and up to 86400 seconds")
    return value


def seconds_or_never(text: str) -> float:
    """Seconds; -1 is never, as infinity."""
    return math.inf if text.strip() == "-1" else seconds(text)


def choice(*words: str) -> Callable[[str], str]:
    """One of `words`."""

    def parse(text: str) -> str:
        if text not in words:
            raise ValueError(f"{text!r} is not one of {', '.join(words)}")
        return text

    return parse


def words(text: str) -> tuple[str, ...]:
    """The entries of a comma-separated list, without empty ones."""
    return tuple(word for part in text.split(",") if (word := part.strip()))


def keys(text: str) -> tuple[str, ...]:
    """A comma-separated list of at least one key: an empty one would leave the server open."""
    found = words(text)
    if not found:
        raise ValueError("the list contains no key")
    return found


def numbers(text: str) -> tuple[float, ...]:
    """A comma-separated list of numbers."""
    return tuple(number(word) for word in words(text))


def tensor_rules(text: str) -> tuple[str, ...]:
    """Rules of the form PATTERN=BUFFER; LoadSettings checks them."""
    return words(text)


def metadata(text: str) -> dict[str, Any]:
    """Values by key, from `KEY=TYPE:VALUE,...`."""
    found: dict[str, Any] = {}
    for word in words(text):
        key, _, rest = word.partition("=")
        kind, separator, value = rest.partition(":")
        if not key or not separator or kind not in _KINDS:
            raise ValueError(f"{word!r} is not of the form key=int:1, with int, float, bool or str")
        found[key] = _KINDS[kind](value)
    return found


_KINDS: dict[str, Callable[[str], Any]] = {
    "int": integer(-(1 << 63), (1 << 63) - 1),
    "float": number,
    "bool": boolean,
    "str": str,
}


def cpu_mask(text: str) -> tuple[int, ...]:
    """The CPUs of a hexadecimal mask."""
    digits = text.strip().lower().removeprefix("0x")
    if not digits or len(digits) > _MAX_MASK_DIGITS or set(digits) - set("0123456789abcdef"):
        raise ValueError(f"{text!r} is not a hexadecimal mask of CPUs, such as ff")
    mask = int(digits, 16)
    cpus = tuple(cpu for cpu in range(mask.bit_length()) if mask >> cpu & 1)
    if not cpus:
        raise ValueError("the mask has no CPU")
    return cpus


def cpu_range(text: str) -> tuple[int, ...]:
    """The CPUs of a range, such as 0-7; either end may be left out."""
    first, dash, last = text.strip().partition("-")
    last_cpu = (os.cpu_count() or 1) - 1
    if not dash:
        raise ValueError(f"{text!r} is not a range of CPUs, such as 0-7")
    number = integer(0, 4 * _MAX_MASK_DIGITS - 1)
    low, high = number(first or "0"), number(last or str(last_cpu))
    if low > high:
        raise ValueError(f"{text!r} is empty")
    return tuple(range(low, high + 1))


def embedding_norm(text: str) -> int:
    """llama-server's norm: -1 for none, 0 for the largest value, else the p of a p-norm."""
    return integer(-1, 1 << 15)(text)


def path(text: str) -> Path:
    """A file or folder."""
    if not text:
        raise ValueError("the path is empty")
    return Path(text).expanduser()


def prefix(text: str) -> str:
    """The prefix of every URL path, such as /llm; may be empty."""
    text = text.rstrip("/")
    if text and not _PREFIX.fullmatch(text):
        raise ValueError(f"{text!r} is not a path prefix such as /llm")
    return text


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
    same = {"none": "off", "draft-simple": "draft"}
    kinds = {
        choice("auto", "off", "ngram", "draft")(
            "ngram" if word.startswith("ngram-") else same.get(word, word)
        )
        for word in words(text)
    }
    if len(kinds) != 1:
        raise ValueError(f"{text!r} names several kinds; choose draft or ngram")
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
    words = ("default", "none", "minimal", "low", "medium", "high", "xhigh")
    return None if choice(*words)(text) == "default" else text


def json_object(text: str) -> dict[str, Any]:
    """A JSON object."""
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(f"{text!r} is not a JSON object: {error}") from None


def inverse(text: str) -> float:
    """1 divided by a number."""
    value = number(text)
    if value == 0:
        raise ValueError("0 is out of range, expected above 0")
    return 1 / value


def companion(text: str) -> str:
    """The absolute path of an existing file, or else the name of one in the models directory."""
    found = path(text)
    return str(found.absolute()) if os.path.isfile(found) else text  # noqa: PTH113


def companions(text: str) -> tuple[dict[str, Any], ...]:
    """LoRA adapters with scale 1, in the form of LoraChoice."""
    return tuple({"path": companion(word)} for word in words(text))


def scaled_companions(text: str) -> tuple[dict[str, Any], ...]:
    """LoRA adapters from `FILE:SCALE,...`, in the form of LoraChoice."""
    adapters = []
    for word in words(text):
        name, _, scale = word.rpartition(":")
        if not name:
            raise ValueError(f"{word!r} is not of the form adapter.gguf:0.5")
        adapters.append({"path": companion(name), "scale": number(scale)})
    return tuple(adapters)


def text_file(text: str) -> str:
    """The content of a text file."""
    try:
        with path(text).open(encoding="utf-8") as file:
            content = file.read(_MAX_TEXT_FILE + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{text} cannot be read: {error}") from None
    if len(content) > _MAX_TEXT_FILE:
        raise ValueError(f"{text} is longer than {_MAX_TEXT_FILE} characters")
    return content


def key_file(text: str) -> tuple[str, ...]:
    """Keys from a file, one per line; empty lines and lines that begin with # are skipped."""
    lines = [line.strip() for line in text_file(text).splitlines()]
    keys = tuple(line for line in lines if line and not line.startswith("#"))
    if not keys:
        raise ValueError(f"{text} contains no key")
    return keys


def folder(text: str) -> Path:
    """A directory, which need not exist. Raises ValueError for a file."""
    found = path(text)
    if os.path.isfile(found):  # noqa: PTH113
        raise ValueError(f"{text} is a file; --model FILE serves one file")
    return found


def existing_folder(text: str) -> Path:
    """The absolute path of an existing directory."""
    found = path(text)
    if not os.path.isdir(found):  # noqa: PTH112
        raise ValueError(f"{text} is not an existing folder")
    return found.absolute()


def device_budgets(text: str) -> tuple[tuple[str, int], ...]:
    """Memory budgets in MB by device, from `NAME=MB,...`."""
    budgets = []
    for word in words(text):
        name, _, amount = word.partition("=")
        if not name or not amount:
            raise ValueError(f"{word!r} is not of the form CUDA0=20000")
        budgets.append((name, integer(1, 1 << 30)(amount)))
    return tuple(budgets)


def model_settings(text: str) -> ModelSettings:
    """The settings of models in a TOML file."""
    return ModelSettings.read(path(text))
