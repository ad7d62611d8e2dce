"""CompanionFiles: the files that a load's settings name, found inside the models directories.

A name cannot reach a file outside: it is resolved, including links, and refused if the result is
not below one of the directories.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from llamabind.errors import InvalidParameterError
from server.protocol.load_settings import LoadSettings
from server.protocol.load_values import LoraChoice
from server.protocol.loading import LoadFiles

_MAX_NAME_BYTES = 255


class CompanionFiles:
    """Looks names up in directories; the first directory wins. Blocking: use a thread.

    `named` are files that the server's command line names by path: they may be anywhere, and are
    looked up by file name alone. `known` are those of presets, by the names in their settings.
    """

    def __init__(
        self,
        directories: Iterable[Path],
        named: Iterable[Path] = (),
        known: Mapping[str, Path] | None = None,
    ) -> None:
        self._directories = tuple(directories)
        self._named = {path.name: path for path in named}
        self._known = known or {}
        self._found: dict[str, Path] = {}

    def add_found(self, name: str, path: Path) -> None:
        """Let `name` mean this file, which the catalogue found beside a model."""
        self._found[name] = path

    def find(self, settings: LoadSettings) -> LoadFiles:
        """The absolute paths of the files. Raises InvalidParameterError naming the field."""
        adapters = settings.lora or ()
        return LoadFiles(
            lora=tuple(
                (self._path(f"lora[{index}]", adapter.file), adapter.factor)
                for index, adapter in enumerate(adapters)
            ),
            draft_model=self._optional("draft_model", settings.draft_model),
            mmproj=self._optional("mmproj", settings.projector),
        )

    def _optional(self, field: str, name: str | None) -> str | None:
        return None if name is None else self._path(field, name)

    def _path(self, field: str, name: str) -> str:
        known = self._named.get(name) or self._known.get(name) or self._found.get(name)
        if known is not None:
            return str(known)
        _check_name(field, name)
        for directory in self._directories:
            # Not Path.resolve: it raises on a link that leads to itself.
            root = Path(os.path.realpath(directory))
            path = Path(os.path.realpath(root / name))
            # Nor Path.is_file: it raises on a folder without permission.
            if path.is_relative_to(root) and os.path.isfile(path):  # noqa: PTH113
                return str(path)
        raise InvalidParameterError(
            field, f"file {name!r} was not found in the models directory or below it"
        )


def without_paths(settings: LoadSettings) -> tuple[LoadSettings, tuple[Path, ...]]:
    """The settings with file names in place of absolute paths, and those paths.

    Clients may see the settings, but must not see paths. Raises InvalidParameterError for two
    different files of the same name.
    """
    changed, paths = named_in("", settings)
    return changed, tuple(paths.values())


def named_in(folder: str, settings: LoadSettings) -> tuple[LoadSettings, dict[str, Path]]:
    """As `without_paths`, with names below `folder`; the paths are by name."""
    paths: dict[str, Path] = {}

    def bare(field: str, name: str | None) -> str | None:
        if name is None or not Path(name).is_absolute():
            return name
        path = Path(name)
        known = f"{folder}/{path.name}" if folder else path.name
        if paths.setdefault(known, path) != path:
            raise InvalidParameterError(field, f"two different files are named {path.name!r}")
        return known

    adapters = tuple(
        LoraChoice(path=bare("lora", adapter.file), scale=adapter.scale)
        for adapter in settings.lora or ()
    )
    changed = msgspec.structs.replace(
        settings,
        lora=adapters or settings.lora,
        draft_model=bare("draft_model", settings.draft_model),
        mmproj=bare("mmproj", settings.mmproj),
    )
    return changed, paths


def _check_name(field: str, name: str) -> None:
    if not name.isprintable() or name.encode(errors="ignore").decode() != name:
        raise InvalidParameterError(field, f"{name!r} is not a valid file name")
    if any(len(part.encode()) > _MAX_NAME_BYTES for part in name.split("/")):
        raise InvalidParameterError(
            field, f"a part of the file name is longer than {_MAX_NAME_BYTES} bytes"
        )
    if not name.lower().endswith(".gguf"):
        raise InvalidParameterError(field, f"{name!r} does not end in .gguf")
