"""Reads the command line and the environment into a ServerConfig, or exits with a message."""

import argparse
import dataclasses
import difflib
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from llamabind import __version__
from llamabind.errors import InvalidParameterError
from server.catalogue.companion_files import CompanionFiles, without_paths
from server.catalogue.model_settings import ModelSettings
from server.catalogue.split_models import first_shard
from server.cli.flag import SETTINGS, Flag
from server.cli.hub_flags import with_hub_defaults, wrong_hub
from server.cli.load_settings import FLAGS, complaint, load_settings, without_prefix
from server.cli.presets import read_presets
from server.cli.table import GROUPS
from server.cli.unsupported_flags import (
    NO_EFFECT_OPTIONS,
    NO_EFFECT_SWITCHES,
    NOT_SUPPORTED,
    ONE_CHOICE,
)
from server.config import ServerConfig
from server.listening.addresses import why_not_without_key

_EPILOG = """
Every flag can also be set by the environment variable in brackets; a flag overrides its variable.
Switches have a --no- form; their variables accept true, 1 or on, and false, 0 or off.
docs/running.md explains keys, TLS, exposing the server, signals and logs.
"""


def parse_command_line(
    arguments: Sequence[str] | None = None,
    environment: Mapping[str, str] | None = None,
    program: str = "python -m server",
) -> ServerConfig:
    """The configuration from flags and variables; exits with status 2 and a message on an error."""
    parser = make_parser(program)
    words = sys.argv[1:] if arguments is None else arguments
    given, extra = parser.parse_known_args([_with_hyphens(word) for word in words])
    if extra:
        parser.error(_unknown(extra[0], parser))
    values = _read_environment(parser, os.environ if environment is None else environment)
    # A flag replaces every variable with the same target, of other flags too.
    values |= vars(given)
    values = with_hub_defaults(values, os.environ if environment is None else environment)
    return _checked(parser, _config(parser, values))


def _with_hyphens(word: str) -> str:
    """A long flag with hyphens in place of underscores, which llama-server takes as well."""
    if not word.startswith("--"):
        return word
    name, equals, value = word.partition("=")
    return name.replace("_", "-") + equals + value


def make_parser(program: str = "python -m server") -> "_Parser":
    """The parser: the table's groups, and llama-server's other flags, hidden from --help."""
    parser = _Parser(
        prog=program,
        description="Serve GGUF models over HTTP.",
        epilog=_EPILOG,
        formatter_class=_Formatter,
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument("--version", action="version", version=f"llamabind {__version__}")
    for group in GROUPS:
        section = parser.add_argument_group(group.title)
        for flag in group.flags:
            _add(section, flag)
    for names, has_value in ((NO_EFFECT_SWITCHES, False), (NO_EFFECT_OPTIONS, True)):
        for name, why in names.items():
            parser.add_argument(
                name, action=_Ignore, nargs=None if has_value else 0, const=why, help=_HIDDEN
            )
    for name, why in NOT_SUPPORTED.items():
        parser.add_argument(name, action=_Refuse, nargs="?", const=why, help=_HIDDEN)
    for name, choice in ONE_CHOICE.items():
        parser.add_argument(name, action=_AllowOne, nargs="?", const=choice, help=_HIDDEN)
    parser.add_argument("--usage", action="help", help=_HIDDEN)
    parser.add_argument("--list-devices", action=_ListDevices, nargs=0, help=_DEVICES_HELP)
    return parser


_HIDDEN = argparse.SUPPRESS
_DEVICES_HELP = "print the devices that can run models, and exit"


def default_text(flag: Flag) -> str:
    """The default as text on a command line; "" for an empty one and for load settings."""
    if flag.target.startswith(SETTINGS) or flag.means is not None:
        return ""
    value = getattr(ServerConfig(), flag.target)
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return ",".join(value)
    if value is None or value == {}:
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _add(section: Any, flag: Flag) -> None:
    default = default_text(flag)
    notes = ", ".join(filter(None, (f"default {default}" if default else "", flag.variable)))
    text = f"{flag.help} [{notes}]".replace("%", "%%")
    if flag.parse is None:
        value = True if flag.means is None else flag.means
        section.add_argument(
            *flag.names, dest=flag.target, action="store_const", const=value, help=text
        )
        if flag.negative_names:
            names = flag.negative_names
            section.add_argument(
                *names, dest=flag.target, action="store_const", const=False, help=_HIDDEN
            )
        return
    section.add_argument(
        *flag.names,
        dest=flag.target,
        type=_argument_type(flag),
        action="extend" if flag.adds else "store",
        metavar=flag.metavar,
        help=text,
        **({} if flag.bare is None else {"nargs": "?", "const": flag.read(flag.bare)}),
    )


def _argument_type(flag: Flag) -> Any:
    def convert(text: str) -> Any:
        try:
            return flag.read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return convert


def _read_environment(
    parser: argparse.ArgumentParser, environment: Mapping[str, str]
) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for flag in FLAGS:
        try:
            if (value := _from_environment(flag, environment)) is None:
                continue
        except ValueError as error:
            parser.error(f"environment variable {flag.variable}: {error}")
        values[flag.target] = values.get(flag.target, ()) + value if flag.adds else value
    return values


def _from_environment(flag: Flag, environment: Mapping[str, str]) -> Any:
    """The value of the flag's variable; None if it is not set or empty."""
    if flag.negative_names:
        # llama-server's LLAMA_ARG_NO_ spelling switches the flag off, whatever its value.
        negative = flag.variable.replace("LLAMA_ARG_", "LLAMA_ARG_NO_")
        if negative != flag.variable and negative in environment:
            return False
    text = environment.get(flag.variable, "")
    return flag.read(text) if text else None


def _config(parser: argparse.ArgumentParser, values: dict[str, Any]) -> ServerConfig:
    fields = {name: value for name, value in values.items() if not name.startswith(SETTINGS)}
    for name in ("api_keys", "admin_keys"):
        fields[name] = tuple(dict.fromkeys(fields.get(name, ())))
    fields["cpus"] = tuple(sorted(set(fields.get("cpus", ()))))
    applies_lora = not fields.get("lora_init_without_apply")
    try:
        settings = load_settings(without_prefix(values), applies_lora=applies_lora)
        settings, companions = without_paths(settings)
        config = ServerConfig(default_settings=settings, companions=companions, **fields)
        if config.presets is not None:
            config = dataclasses.replace(config, preset_models=read_presets(config))
    except InvalidParameterError as error:
        parser.error(complaint(error))
    except ValueError as error:
        parser.error(str(error))
    return config


def _checked(parser: argparse.ArgumentParser, config: ServerConfig) -> ServerConfig:
    """Check what depends on several flags; returns `config`, or exits with a message."""
    if not config.hosts:
        parser.error("argument --host: give at least one address to listen on")
    if (config.ssl_cert_file is None) != (config.ssl_key_file is None):
        parser.error("--ssl-cert-file and --ssl-key-file must be given together")
    if config.admin_keys and not config.api_keys and not config.insecure_no_auth:
        parser.error(
            "--admin-key without --api-key leaves chats open to every client; also give "
            "--api-key-file FILE, or --insecure-no-auth to allow that"
        )
    if set(config.admin_keys) & set(config.api_keys):
        parser.error("the same key is given as --api-key and as --admin-key; use different keys")
    try:
        config.default_settings.check_complete()
        CompanionFiles(config.model_directories, config.companions).find(config.default_settings)
    except InvalidParameterError as error:
        parser.error(complaint(error))
    for problem in (
        _wrong_layers(config),
        _wrong_model(config),
        wrong_hub(config),
        why_not_without_key(config),
    ):
        if problem:
            parser.error(problem)
    return config


def _wrong_layers(config: ServerConfig) -> str | None:
    """What is missing in the settings of a model in --config, combined with the flags; None if
    nothing.
    """
    known = config.model_settings or ModelSettings()
    for model_id in known.models:
        try:
            known.of(model_id, config.default_settings).check_complete()
        except InvalidParameterError as error:
            return f'argument --config: [models."{model_id}"] {error.field}: {error.message}'
    return None


def _wrong_model(config: ServerConfig) -> str | None:
    """Why the path of --model cannot be a model file, or None; a load checks its content."""
    file = config.model_file
    if file is None:
        return None
    named = f"argument -m/--model: {file}"
    if not os.path.isfile(file):  # noqa: PTH113 - Path.is_file raises where access is denied
        is_folder = os.path.isdir(file)  # noqa: PTH112
        if is_folder:
            return f"{named} is a folder; give it as --models-dir"
        return f"{named} does not exist"
    if (first := first_shard(file.name)) != file.name:
        return f"{named} is a later part of a split model; give its first file, {first}"
    return None


def _unknown(argument: str, parser: "_Parser") -> str:
    name = argument.split("=")[0]
    if not name.startswith("-"):
        return f"unexpected argument {argument!r}: every value must follow a flag"
    near = difflib.get_close_matches(name, parser.listed_names(), n=1, cutoff=0.6)
    return f"unknown flag {name}" + (f"; did you mean {near[0]}?" if near else "; see --help")


class _Parser(argparse.ArgumentParser):
    """Errors without the usage text, which would fill a page."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")

    def listed_names(self) -> list[str]:
        """The long names of all flags that have an effect."""
        listed = [action for action in self._actions if not isinstance(action, _Foreign)]
        return [name for action in listed for name in action.option_strings if name[:2] == "--"]


class _Formatter(argparse.HelpFormatter):
    """100 columns wide; keeps the line breaks of the epilog."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28, width=100)

    def add_usage(self, *_: Any, **__: Any) -> None:
        """A short usage line: the groups below list all flags."""
        super().add_usage("%(prog)s [flags]", (), ())

    def _fill_text(self, text: str, width: int, indent: str) -> str:  # noqa: ARG002
        return text.strip()


class _Foreign(argparse.Action):
    """A flag of llama-server that has no effect here; `const` says why."""


class _Ignore(_Foreign):
    def __call__(self, _parser: Any, _space: Any, _values: Any, name: str | None = None) -> None:
        print(f"{name} has no effect: {self.const}", file=sys.stderr)


class _Refuse(_Foreign):
    def __call__(
        self, parser: argparse.ArgumentParser, _space: Any, _values: Any, name: str | None = None
    ) -> None:
        parser.error(f"llama-server's {name} is not supported: {self.const}")


class _AllowOne(_Foreign):
    """A flag of llama-server of which one value, this server's fixed behaviour, is accepted."""

    def __call__(
        self, parser: argparse.ArgumentParser, _space: Any, value: Any, name: str | None = None
    ) -> None:
        words, why_so, why_not = self.const
        if value is self.const or value in words:
            print(f"{name} has no effect: {why_so}", file=sys.stderr)
        else:
            parser.error(f"llama-server's {name} {value} is not supported: {why_not}")


class _ListDevices(argparse.Action):
    """Prints the devices from a child process: this process loads no native code."""

    def __call__(
        self, parser: argparse.ArgumentParser, space: Any, _values: Any, _: str | None = None
    ) -> None:
        command = [*ServerConfig().worker_command[:-1], "llamabind", "report", "--devices"]
        # As with llama-server, an --rpc in front of this flag counts.
        if servers := getattr(space, "rpc", ()):
            command += ["--rpc", ",".join(servers)]
        parser.exit(subprocess.run(command, check=False).returncode)
