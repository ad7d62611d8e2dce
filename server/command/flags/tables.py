"""Flags of a load and of sampling, from the server's own tables: the same names and meanings.

Their variables are not read here: those are the server's defaults, which apply anyway.
"""

import argparse
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from server.cli.companion_flags import COMPANION_FLAGS
from server.cli.flag import SETTINGS, Flag
from server.cli.load_flags import MODEL_FLAGS, ROPE_FLAGS
from server.cli.load_settings import load_settings, without_prefix
from server.cli.placement_flags import PLACEMENT_FLAGS
from server.cli.sampling_flags import SAMPLING_FLAGS
from server.cli.values.files import companion, companions, scaled_companions
from server.cli.values.lists import words
from server.cli.values.numbers import number
from server.command.client.errors import UsageError

_SAMPLING = f"{SETTINGS}sampling."
# Each is a heading of --help.
_LOAD_GROUPS = (
    ("settings of the load", MODEL_FLAGS),
    ("files beside the model, drafts, embeddings", COMPANION_FLAGS),
    ("devices and metadata", PLACEMENT_FLAGS),
    ("contexts beyond the training context", ROPE_FLAGS),
    ("sampling of requests that do not set it", SAMPLING_FLAGS),
)


def add_load_flags(parser: argparse.ArgumentParser) -> None:
    """Add every setting of a load as a flag, with the API's name beside llama-server's."""
    taken = _names_of(flag for _, flags in _LOAD_GROUPS for flag in flags)
    for title, flags in _LOAD_GROUPS:
        section = parser.add_argument_group(title)
        for flag in flags:
            if flag.target.startswith(SETTINGS):
                _add(section, flag, flag.target.rpartition(".")[2], taken)
    parser.add_argument(
        "--f16-kv",
        dest=f"{SETTINGS}f16_kv",
        action=argparse.BooleanOptionalAction,
        help="set both cache types to f16, with --no-f16-kv to f32",
    )
    kept = parser.add_argument_group("how long it stays in memory")
    kept.add_argument(
        "--ttl",
        dest=f"{SETTINGS}ttl",
        type=int,
        metavar="SECONDS",
        help="unload the model after this many idle seconds; -1 is never",
    )
    kept.add_argument(
        "--pinned",
        dest=f"{SETTINGS}pinned",
        action="store_const",
        const=True,
        help="never unload the model for being idle, and never to free memory for another one",
    )


def load_body(options: argparse.Namespace) -> dict[str, Any]:
    """The body of a load: the settings whose flags were given. Raises UsageError."""
    given = {name: value for name, value in vars(options).items() if value is not None}
    try:
        body: dict[str, Any] = msgspec.to_builtins(load_settings(without_prefix(given)))
    except ValueError as error:
        raise UsageError(str(error)) from None
    return body


def add_sampling_flags(parser: argparse.ArgumentParser) -> None:
    """Add the sampling of an answer as flags."""
    section = parser.add_argument_group("sampling (by default the model's own)")
    taken = _names_of(SAMPLING_FLAGS)
    for flag in SAMPLING_FLAGS:
        _add(section, flag, flag.target.removeprefix(_SAMPLING), taken)


def sampling_fields(options: argparse.Namespace) -> dict[str, Any]:
    """The fields of a request whose flags were given."""
    return {
        name.removeprefix(_SAMPLING): list(value) if isinstance(value, tuple) else value
        for name, value in vars(options).items()
        if name.startswith(_SAMPLING) and value is not None
    }


def sampling_flags() -> dict[str, Flag]:
    """The flags of sampling by the names of their request fields."""
    found: dict[str, Flag] = {}
    for flag in SAMPLING_FLAGS:
        found.setdefault(flag.target.removeprefix(_SAMPLING), flag)
    return found


def _names_of(flags: Iterable[Flag]) -> set[str]:
    return {name for flag in flags for name in (*flag.names, *flag.negative_names)}


def _add(section: Any, flag: Flag, field: str, taken: set[str]) -> None:
    """Add a flag, also by the name of its field in the API where no other flag has that name."""
    text = flag.help.replace("%", "%%")
    names = list(flag.names)
    api_name = f"--{field.replace('_', '-')}"
    if api_name not in taken:
        names.append(api_name)
        taken.add(api_name)
    if flag.parse is None:
        value = True if flag.means is None else flag.means
        section.add_argument(*names, dest=flag.target, action="store_const", const=value, help=text)
        if flag.negative_names:
            section.add_argument(
                *flag.negative_names,
                dest=flag.target,
                action="store_const",
                const=False,
                help=argparse.SUPPRESS,
            )
        return
    section.add_argument(
        *names,
        dest=flag.target,
        type=_reader(_READERS.get(flag.parse, flag.read)),
        action="extend" if flag.adds else "store",
        metavar=flag.metavar,
        help=text,
        **({} if flag.bare is None else {"nargs": "?", "const": flag.read(flag.bare)}),
    )


def _adapters(text: str) -> tuple[dict[str, Any], ...]:
    return tuple({"path": name} for name in words(text))


def _scaled_adapters(text: str) -> tuple[dict[str, Any], ...]:
    adapters = []
    for word in words(text):
        name, _, scale = word.rpartition(":")
        if not name:
            raise ValueError(f"{word!r} is not of the form adapter.gguf:0.5")
        adapters.append({"path": name, "scale": number(scale)})
    return tuple(adapters)


# The server may run on another machine: a file is a name in its models directory, not a path here.
_READERS: dict[Any, Callable[[str], Any]] = {
    companion: str,
    companions: _adapters,
    scaled_companions: _scaled_adapters,
}


def _reader(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return read
