"""load_settings: the values of flags as the settings of a load, and what is wrong with them."""

import re
import sys
from typing import TYPE_CHECKING, Any

import msgspec

from llamabind.errors import InvalidParameterError
from server.cli.flag import SETTINGS, Flag
from server.cli.table import GROUPS
from server.protocol.load_settings import GENERATION_FILES, GENERATION_SIZES, LoadSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

FLAGS = tuple(flag for group in GROUPS for flag in group.flags)
_SAMPLING = "sampling."
_FIELD = re.compile(r" - at `\$\.((?:sampling\.)?\w+)[^`]*`$")
_NOT_FOR_EMBEDDINGS = frozenset({*GENERATION_SIZES, *GENERATION_FILES})


def load_settings(chosen: dict[str, Any], *, applies_lora: bool = True) -> LoadSettings:
    """The settings with these values by name. Raises ValueError with a flag's name."""
    if chosen.get("pooling") == "rank":
        chosen.setdefault("embedding", True)
    if chosen.get("embedding"):
        _drop_what_embeddings_ignore(chosen)
    if chosen.get("lora") and not applies_lora:
        chosen["lora"] = [adapter | {"scale": 0.0} for adapter in chosen["lora"]]
    try:
        return msgspec.convert(chosen, LoadSettings)
    except (msgspec.ValidationError, InvalidParameterError) as error:
        raise ValueError(complaint(error)) from None


def complaint(error: Exception) -> str:
    """The error's message after the name of the flag that it concerns."""
    # msgspec wraps exceptions of a struct's __post_init__ in a ValidationError.
    wrong = error if isinstance(error, InvalidParameterError) else error.__cause__
    if isinstance(wrong, InvalidParameterError):
        return f"{_flag_name(wrong.field)}: {wrong.message}"
    found = _FIELD.search(str(error))
    message = str(error)[: found.start() if found else None]
    return f"{_flag_name(found[1] if found else '')}: {message[:1].lower()}{message[1:]}"


def without_prefix(values: dict[str, Any]) -> dict[str, Any]:
    """Of values by flag target those that are settings of a load, by their names."""
    chosen: dict[str, Any] = {}
    sampling: dict[str, Any] = {}
    for target, value in values.items():
        name = target.removeprefix(SETTINGS)
        if name.startswith(_SAMPLING):
            sampling[name.removeprefix(_SAMPLING)] = value
        elif name != target:
            chosen[name] = value
    return chosen | ({"sampling": sampling} if sampling else {})


def _drop_what_embeddings_ignore(chosen: dict[str, Any]) -> None:
    """Drop settings that a load for embeddings refuses: llama-server's command lines have them."""
    for name in sorted(chosen.keys() & _NOT_FOR_EMBEDDINGS):
        del chosen[name]
        print(f"{_flag_name(name)} has no effect with --embedding", file=sys.stderr)


def _flag_name(setting: str) -> str:
    """The flag that sets a field of LoadSettings, as argparse names it in its own messages."""
    setting = setting.partition("[")[0]
    found: Sequence[Flag] = [flag for flag in FLAGS if flag.target == f"{SETTINGS}{setting}"]
    return f"argument {'/'.join(found[0].names)}" if found else setting
