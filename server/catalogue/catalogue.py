"""Catalogue: the model files in the models directories and in the hub's cache, by id, read again
for each scan.

An id is a path relative to its directory, with slashes; in the hub's cache it is
org/repo/path/in/the/repository. Ids are looked up only among those that a scan found, so no id can
name a file outside the directories. Symbolic links that lead out of a directory are followed only
if `follow_links` is set.
"""

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from llamabind import GgufHeader, read_gguf_header
from llamabind.errors import GgufError
from server.catalogue.header_store import HeaderStore, Stamp
from server.catalogue.hub_models import add_aliases, hub_folders, with_chosen_projector
from server.catalogue.model_file import (
    ModelFile,
    file_time,
    missing_model,
    unreadable_model,
)
from server.catalogue.projectors import (
    ARCHITECTURE,
    ProjectorFile,
    choose_projectors,
    is_projector_name,
)
from server.catalogue.split_models import (
    files_of,
    first_shard,
    group_shards,
    missing_shard,
    shard_of,
)
from server.hub.cache import HubCache
from server.protocol.load_values import MAX_CONTEXT

logger = logging.getLogger(__name__)
# Files that belong to a model: by general.type, by the architecture of projectors and drafters, or
# by the beginning of their names (those of llama.cpp's hub downloads).
_OTHER_KINDS = frozenset({"adapter", "mmproj", "imatrix"})
_OTHER_ARCHITECTURES = frozenset({ARCHITECTURE, "eagle3", "dflash"})
_OTHER_NAMES = ("mtp-", "eagle3-", "dflash-", "dspark-", "imatrix")


@dataclass(frozen=True, slots=True)
class _Reading:
    """The header of one file, or the error, with the file's size and time when it was read."""

    stamp: tuple[int, int]
    header: GgufHeader | None
    problem: str | None


class Catalogue:
    """Scans models directories; for equal ids the first directory wins. Blocking: use a thread."""

    def __init__(  # noqa: PLR0913 - options, by keyword
        self,
        directories: Iterable[Path],
        *,
        only: str | None = None,
        follow_links: bool = False,
        find_projectors: bool = True,
        others: Callable[[], Mapping[str, Path | str]] = dict,
        hub: HubCache | None = None,
        headers: HeaderStore | None = None,
    ) -> None:
        """`only`: list just the model of this file. `follow_links`: even out of a directory.
        `find_projectors`: look for the projector of each model in its folder. `others` are further
        models by id, wherever their files are; a sentence says why there is no file. `hub` is a
        cache whose models are listed after those of the directories. `headers` are those that
        earlier starts of the server have read.
        """
        self._hub = hub
        self._find_projectors = find_projectors
        self._further = others
        self._directories = tuple(directories)
        self._only = only
        self._follow_links = follow_links
        self._readings: dict[Path, _Reading] = {}
        self._headers = headers or HeaderStore()

    def scan(self) -> Mapping[str, ModelFile]:
        """All models by id, sorted. Headers are read again only for changed files."""
        found: dict[str, ModelFile] = {}
        seen: set[Path] = set()
        for directory in self._directories:
            groups = group_shards(directory, self._files(directory))
            models, projectors = self._read_groups(groups, seen)
            if self._find_projectors:
                models = _with_projectors(models, projectors, self._others(directory))
            for model in models:
                found.setdefault(model.id, model)
        hub = {model.path: model for model in self._hub_models(seen)}
        for model in hub.values():
            found.setdefault(model.id, model)
        for model_id, file in self._further().items():
            if isinstance(file, str):
                found[model_id] = missing_model(model_id, Path(), file)
                continue
            paths = files_of(file)
            seen.update(paths)
            model = self._describe(model_id, paths) or missing_model(model_id, file)
            same = hub.get(file)
            found[model_id] = replace(model, projector=same.projector) if same else model
        self._readings = {path: self._readings[path] for path in seen if path in self._readings}
        self._headers.save()
        return dict(sorted(found.items()))

    def _read_groups(
        self, groups: Iterable[tuple[str, list[Path]]], seen: set[Path]
    ) -> tuple[list[ModelFile], list[ProjectorFile]]:
        """The models and the projectors among files, each group of which is one of either."""
        models: list[ModelFile] = []
        projectors: list[ProjectorFile] = []
        for model_id, paths in groups:
            seen.update(paths)
            projector = self._projector(model_id, paths)
            if projector is not None:
                projectors.append(projector)
            elif not _is_companion_name(paths[0].name) or self._only == paths[0].name:
                model = self._describe(model_id, paths)
                models += [] if model is None else [model]
        return models, projectors

    def _hub_models(self, seen: set[Path]) -> list[ModelFile]:
        """The models of the hub's cache, with their aliases."""
        found: list[ModelFile] = []
        for folder in () if self._hub is None else hub_folders(self._hub):
            groups = group_shards(folder.path, folder.files)
            named = ((folder.prefix + model_id, paths) for model_id, paths in groups)
            models, projectors = self._read_groups(named, seen)
            models = [replace(model, hub=folder.place_of(model.path)) for model in models]
            if self._find_projectors:
                models = _with_projectors(models, projectors, ())
                models = [with_chosen_projector(one, folder, projectors) for one in models]
            found += models
        return add_aliases(found)

    def _files(self, directory: Path) -> Iterator[Path]:
        if self._only is None:
            yield from _walk(directory, self._follow_links)
            return
        shard = shard_of(self._only)
        for path in sorted({*directory.glob("*"), directory / self._only}):
            other = shard_of(path.name)
            is_mine = path.name == self._only or (
                shard is not None
                and other is not None
                and (other["stem"], other["count"]) == (shard["stem"], shard["count"])
            )
            is_beside = _is_model_name(path.name) and is_projector_name(path.name)
            if (is_mine or is_beside) and _may_be_file(path):
                yield path

    def _others(self, directory: Path) -> set[str]:
        """The names of models beside the only one that is listed: a projector may be theirs."""
        if self._only is None:
            return set()
        names = {path.name for path in directory.glob("*") if _is_model_name(path.name)}
        return {
            name
            for name in names
            if not _is_companion_name(name) and first_shard(name) != first_shard(self._only)
        }

    def _projector(self, name: str, paths: list[Path]) -> ProjectorFile | None:
        """The projector in `paths`; None if they are something else, or unreadable."""
        if len(paths) > 1 or name == self._only:
            return None
        try:
            header = self._read(paths[0], paths[0].stat()).header
        except OSError:
            return None
        if header is None or header.architecture != ARCHITECTURE:
            return None
        return ProjectorFile(name, paths[0], header)

    def _describe(self, model_id: str, paths: list[Path]) -> ModelFile | None:
        """The model in `paths`; None if they belong to another model, or were just deleted."""
        try:
            stats = [path.stat() for path in paths]
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            return unreadable_model(model_id, paths[0], error)
        readings = [self._read(path, stat) for path, stat in zip(paths, stats, strict=True)]
        header = readings[0].header
        if header is not None and _is_companion(header):
            return None
        broken, reason = _diagnose(paths, readings)
        return ModelFile(
            id=model_id,
            path=paths[0],
            size=sum(stat.st_size for stat in stats),
            modified=file_time(max(stat.st_mtime for stat in stats)),
            header=header,
            parameter_count=sum(item.header.parameter_count for item in readings if item.header),
            broken=broken,
            reason=reason,
        )

    def _read(self, path: Path, stat: os.stat_result) -> _Reading:
        stamp = (stat.st_size, stat.st_mtime_ns)
        known = self._readings.get(path)
        if known is not None and known.stamp == stamp:
            return known
        try:
            header = self._headers.get(path, Stamp.of(stat))
            if header is None:
                header = read_gguf_header(path)
                self._headers.put(path, Stamp.of(stat), header)
            reading = _Reading(stamp, header, None)
        except GgufError as error:
            reading = _Reading(stamp, None, str(error))
        self._readings[path] = reading
        return reading


def _walk(directory: Path, follow_links: bool) -> Iterator[Path]:
    """The .gguf files under `directory`, sorted, without hidden ones and links out of it."""
    # Not Path.resolve: it raises on a link that leads to itself.
    root = Path(os.path.realpath(directory))
    seen: set[str] = set()
    for folder, folders, names in os.walk(directory, followlinks=follow_links):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        # A link to a parent folder would be walked forever.
        real = os.path.realpath(folder)
        if real in seen:
            folders[:] = []
            continue
        seen.add(real)
        for name in sorted(names):
            path = Path(folder, name)
            if not _is_model_name(name):
                continue
            if not follow_links and not Path(os.path.realpath(path)).is_relative_to(root):
                logger.debug(
                    "%s is not listed: it links to a file outside the models directory", path
                )
            elif _may_be_file(path):
                yield path


def _may_be_file(path: Path) -> bool:
    """Whether it is a file. True if that cannot be read, so that it is listed with the error."""
    try:
        return path.is_file()
    except OSError:
        return True


def _is_model_name(name: str) -> bool:
    """Whether the name may be a model's or projector's, and can be written in JSON and logs."""
    if name.startswith(".") or not name.lower().endswith(".gguf"):
        return False
    return name.isprintable() and name.encode(errors="ignore").decode() == name


def _is_companion_name(name: str) -> bool:
    """Whether the name is that of a file that belongs to a model."""
    return is_projector_name(name) or name.lower().startswith(_OTHER_NAMES)


def _with_projectors(
    models: list[ModelFile], projectors: Iterable[ProjectorFile], others: Iterable[str]
) -> list[ModelFile]:
    """The models, each that generates text with the projector of its folder that fits.

    `others` are models of the folder that are not listed.
    """
    folders: dict[Path, list[ProjectorFile]] = {}
    for projector in projectors:
        folders.setdefault(projector.path.parent, []).append(projector)
    for folder, beside in folders.items():
        here: dict[str, GgufHeader | None] = dict.fromkeys(others)
        here |= {
            model.path.name: model.header
            for model in models
            if model.path.parent == folder and model.generates and not model.broken
        }
        chosen = choose_projectors(here, beside)
        models = [
            replace(model, projector=chosen.get(model.path.name))
            if model.path.parent == folder
            else model
            for model in models
        ]
    return models


def _is_companion(header: GgufHeader) -> bool:
    return header.kind in _OTHER_KINDS or header.architecture in _OTHER_ARCHITECTURES


def _diagnose(paths: list[Path], readings: list[_Reading]) -> tuple[str | None, str | None]:
    """Why the model cannot be loaded: a sentence and the reason; both None if it seems fine."""
    if missing := missing_shard(paths):
        return f"the file {missing} of this split model is missing", "missing_shard"
    for path, reading in zip(paths, readings, strict=True):
        if reading.problem is not None:
            where = f"{path.name}: " if len(paths) > 1 else ""
            return where + reading.problem, "corrupt_file"
    header = readings[0].header
    if header is not None and header.architecture is None:
        return "the header does not name the model's architecture", "corrupt_file"
    if header is not None and (header.context_length or 0) > MAX_CONTEXT:
        problem = f"the header claims a context of {header.context_length} tokens"
        return f"{problem}, over the limit of {MAX_CONTEXT}", "corrupt_file"
    return None, None
