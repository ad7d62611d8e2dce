"""ModelSettings: load settings and aliases of models, read from a TOML file."""

import difflib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import msgspec

from llamabind.errors import InvalidParameterError
from server.protocol.load_settings import LoadSettings
from server.protocol.sampling_defaults import SamplingDefaults

_TABLES = ("defaults", "models")
_SAMPLING = "sampling"
_ALIAS_KEYS = ("alias", "aliases")
_MAX_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """Default load settings, load settings by model, and the model id of each alias."""

    defaults: LoadSettings = field(default_factory=LoadSettings)
    models: Mapping[str, LoadSettings] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)

    def of(
        self, model_id: str, base: LoadSettings, implied: LoadSettings | None = None
    ) -> LoadSettings:
        """The model's own settings, over the defaults for all models, over `base`, over `implied`.

        `implied` are those of the model's file. Settings for all models that an embedding model
        cannot have, such as a chat template, do not apply to it.
        """
        own = self.models.get(model_id, LoadSettings())
        shared = self.defaults.over(base)
        if implied is not None:
            if implied.embedding and shared.embedding is None:
                shared = shared.without_generation()
            shared = shared.over(implied)
        return own.over(shared)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file. Raises ValueError with the line and key of a mistake."""
        try:
            with path.open("rb") as file:
                raw = file.read(_MAX_BYTES + 1)
            if len(raw) > _MAX_BYTES:
                raise ValueError(f"{path}: larger than the limit of {_MAX_BYTES} bytes")
            text = raw.decode()
            document = tomllib.loads(text)
        except OSError as error:
            raise ValueError(f"{path} cannot be read: {error.strerror or error}") from None
        except UnicodeDecodeError:
            raise ValueError(f"{path}: not valid UTF-8") from None
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"{path}: {error}") from None
        try:
            return cls._from(document)
        except _EntryError as error:
            raise ValueError(f"{path}{error.line_in(text)}: {error}") from None

    @classmethod
    def _from(cls, document: dict[str, Any]) -> Self:
        for name, table in document.items():
            _check_key("", name, _TABLES)
            _check_table(name, table)
        models: dict[str, LoadSettings] = {}
        aliases: dict[str, str] = {}
        for model_id, table in document.get("models", {}).items():
            where = f'models."{model_id}"'
            _check_table(where, table)
            for alias in _take_aliases(where, table):
                if aliases.setdefault(alias, model_id) != model_id:
                    raise _EntryError(
                        where, "aliases", f"{alias!r} is already an alias of {aliases[alias]!r}"
                    )
            models[model_id] = _settings(where, table, *_ALIAS_KEYS)
        return cls(_settings("defaults", document.get("defaults", {})), models, aliases)


class _EntryError(ValueError):
    """A mistake at a key of a table."""

    def __init__(self, table: str, key: str, problem: str) -> None:
        super().__init__(f"[{table}] {key}: {problem}" if table else f"{key}: {problem}")
        self._table = table
        self._key = key

    def line_in(self, text: str) -> str:
        """`, line N` if the key is found in the text in its usual form, else an empty string."""
        table = ""
        for number, line in enumerate(text.splitlines(), 1):
            if header := re.match(r"\s*\[\s*(.+?)\s*\]\s*(#.*)?$", line):
                table = header[1].replace("'", '"')
            key = re.match(r"\s*[\"']?([^\"'=]+?)[\"']?\s*=", line)
            is_key = key is not None and table == self._table and key[1] == self._key
            if is_key or (not self._table and table == self._key):
                return f", line {number}"
        return ""


def _settings(where: str, table: dict[str, Any], *also: str) -> LoadSettings:
    for key in table:
        _check_key(where, key, (*LoadSettings.__struct_fields__, *also))
    values = {key: value for key, value in table.items() if key not in also}
    if _SAMPLING in values:
        _check_sampling(f"{where}.{_SAMPLING}", values[_SAMPLING])
    for key, value in values.items():
        try:
            msgspec.convert({key: value}, LoadSettings)
        except msgspec.ValidationError as error:
            raise _EntryError(where, key, str(error).partition(" - at ")[0]) from None
        except InvalidParameterError:
            break  # contradictions involve two keys: report them for the whole table below
    try:
        return msgspec.convert(values, LoadSettings)
    except InvalidParameterError as error:
        raise _EntryError(where, error.field, error.message) from None


def _check_sampling(where: str, table: Any) -> None:
    _check_table(where, table)
    for key, value in table.items():
        _check_key(where, key, SamplingDefaults.__struct_fields__)
        try:
            msgspec.convert({key: value}, SamplingDefaults)
        except (msgspec.ValidationError, InvalidParameterError) as error:
            problem = str(error).partition(" - at ")[0]
            prefix = f"{_SAMPLING}.{key}: "
            raise _EntryError(where, key, problem.removeprefix(prefix)) from None


def _take_aliases(where: str, table: dict[str, Any]) -> list[str]:
    names: list[str] = []
    for key in _ALIAS_KEYS:
        value = table.get(key, [])
        found = [value] if isinstance(value, str) else value
        if not isinstance(found, list) or not all(_is_name(name) for name in found):
            raise _EntryError(where, key, "expected a name or a list of names")
        names += found
    return names


def _is_name(name: Any) -> bool:
    return isinstance(name, str) and name.isprintable() and bool(name.strip())


def _check_table(name: str, table: Any) -> None:
    if not isinstance(table, dict):
        raise _EntryError("", name, "expected a table")


def _check_key(where: str, key: str, known: tuple[str, ...]) -> None:
    if key not in known:
        close = difflib.get_close_matches(key, known, 1)
        hint = f", did you mean {close[0]!r}?" if close else ""
        raise _EntryError(where, key, f"unknown key{hint}")
