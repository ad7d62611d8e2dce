"""Flags and variables of a replica's server: which of them a model of cluster.toml may set."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from server.cli.flag import Flag
from server.cli.table import GROUPS
from server.cli.unsupported_flags import NO_EFFECT_OPTIONS, NO_EFFECT_SWITCHES, ONE_CHOICE

# Each replica's server gets these from fields of the file.
_FIELDS: Final = {
    "--model": "model",
    "--hf-repo": "model",
    "--alias": "name and aliases",
    "--threads": "cpus",
    "--parallel": "n_parallel",
    "--ctx-size": "n_ctx",
    "--max-queue": "max_queue",
    "--rpc": "rpc",
    "--host": "host at the top of the file",
    "--port": "port at the top of the file",
    "--api-key": "api_key_file at the top of the file",
    "--api-key-file": "api_key_file at the top of the file",
    "--drain-seconds": "drain_seconds at the top of the file",
    "--max-body-mb": "max_body_mb at the top of the file",
    "--gateway-metrics": "gateway_metrics at the top of the file",
}
# The relay finds the server by its socket, its admin key and the model's name.
_REFUSED: Final = (
    *("--admin-key", "--admin-key-file", "--api-prefix", "--models-dir", "--models-preset"),
    *("--ssl-cert-file", "--ssl-key-file"),
)
# They print something and end the process.
_ENDING: Final = ("-h", "--help", "--version", "--usage", "--list-devices")
_VARIABLE: Final = re.compile(r"[A-Za-z_]\w*", re.ASCII)

_FLAGS: Final = tuple(flag for group in GROUPS for flag in group.flags)
_BY_NAME: Final = {name: flag for flag in _FLAGS for name in (*flag.names, *flag.negative_names)}
_FOREIGN: Final = frozenset((*NO_EFFECT_SWITCHES, *NO_EFFECT_OPTIONS, *ONE_CHOICE))
_OWN: Final = {flag.name: flag for flag in _FLAGS if flag.name in (*_FIELDS, *_REFUSED)}

OWN_VARIABLES: Final = frozenset(flag.variable for flag in _OWN.values())
"""Variables that would set what the cluster sets: another server of the machine may have them."""


def flag_fault(words: Sequence[str]) -> tuple[int, str] | None:
    """The index of the first word that cannot be a flag of a replica, and why; None if all may."""
    for index, word in enumerate(words):
        name = _name(word)
        if "\0" in word:
            return index, "has a zero byte"
        if name in _ENDING:
            return index, f"{name} does not work in a cluster"
        if flag := _BY_NAME.get(name):
            if reason := _reason(flag, name):
                return index, reason
        elif name.startswith("--") and name not in _FOREIGN:
            return index, f"{name} is not a flag of `llamabind serve`"
    return None


def variable_fault(variables: Mapping[str, str]) -> tuple[str, str] | None:
    """The name of the first variable that a replica cannot have, and why; None if it may."""
    for name, value in variables.items():
        if not _VARIABLE.fullmatch(name):
            return name, "is not the name of a variable; use letters, digits and _"
        if "\0" in value:
            return name, "has a zero byte in its value"
        if name in OWN_VARIABLES:
            flag = next(flag for flag in _OWN.values() if flag.variable == name)
            return name, _reason(flag, "it")
    return None


def _reason(flag: Flag, name: str) -> str:
    """Why the file may not set a flag; "" if it may."""
    if field := _FIELDS.get(flag.name):
        return f"{name} is set by the field {field}"
    return f"{name} does not work in a cluster" if flag.name in _REFUSED else ""


def _name(word: str) -> str:
    """The flag of a word; as the server, with hyphens for underscores in long names."""
    name = word.partition("=")[0]
    return name.replace("_", "-") if name.startswith("--") else name
