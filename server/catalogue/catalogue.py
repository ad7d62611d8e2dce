"""Catalogue: the model files in the models directories, by id, read again for each scan.

An id is a path relative to its directory, with slashes. Ids are looked up only among those that a
scan found, so no id can name a file outside the directories. Symbolic links that lead out of a
directory are followed only if `follow_links` is set.
"""

import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from llamabind import GgufHeader, read_gguf_header
from llamabind.errors import GgufError
from llamabind.gguf.purpose import purpose_of
from server.catalogue.projectors import (
    ARCHITECTURE,
    ProjectorFile,
    choose_projectors,
    is_projector_name,
)
from server.protocol.load_settings import MAX_CONTEXT

logger = logging.getLogger(__name__)
_SHARD = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf", re.IGNORECASE)
_MAX_SHARDS = 1000
_EPOCH = datetime.fromtimestamp(0, UTC)
# Files that belong to a model: by general.type, by the architecture of projectors and drafters, or
# by the beginning of their names (those of llama.cpp's hub downloads).
_OTHER_KINDS = frozenset({"adapter", "mmproj", "imatrix"})
_OTHER_ARCHITECTURES = frozenset({ARCHITECTURE, "eagle3", "dflash"})
_OTHER_NAMES = ("mtp-", "eagle3-", "dflash-", "dspark-", "imatrix")


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One model on disk; a split model has the id and path of its first file.

    `size` (bytes) and `parameter_count` are sums over its files. `broken` is a sentence that says
    why the model cannot be loaded, and `reason` the machine-readable form; `header` may then be
    None. `projector` is the projector beside it that fits.
    """

    id: str
    path: Path
    size: int
    modified: datetime
    header: GgufHeader | None
    parameter_count: int = 0
    broken: str | None = None
    reason: str | None = None
    projector: ProjectorFile | None = None

    @property
    def generates(self) -> bool:
        """Whether it was made to generate text, as far as its header tells."""
        return self.header is None or purpose_of(self.header) == "generation"


@dataclass(frozen=True, slots=True)
class _Reading:
    """The header of one file, or the error, with the file's size and time when it was read."""

    stamp: tuple[int, int]
    header: GgufHeader | None
    problem: str | None


class Catalogue:
    """Scans models directories; for equal ids the first directory wins. Blocking: use a thread."""

    def __init__(
        self,
        directories: Iterable[Path],
        *,
        only: str | None = None,
        follow_links: bool = False,
        find_projectors: bool = True,
        others: Callable[[], Mapping[str, Path]] = dict,
    ) -> None:
        """`only`: list just the model of this file. `follow_links`: even out of a directory.
        `find_projectors`: look for the projector of each model in its folder. `others` are further
        models by id, wherever their files are.
        """
        self._find_projectors = find_projectors
        self._further = others
        self._directories = tuple(directories)
        self._only = only
        self._follow_links = follow_links
        self._readings: dict[Path, _Reading] = {}

    def scan(self) -> Mapping[str, ModelFile]:
        """All models by id, sorted. Headers are read again only for changed files."""
        found: dict[str, ModelFile] = {}
        seen: set[Path] = set()
        for directory in self._directories:
            models: list[ModelFile] = []
            projectors: list[ProjectorFile] = []
            for model_id, paths in _group(directory, self._files(directory)):
                seen.update(paths)
                projector = self._projector(model_id, paths)
                if projector is not None:
                    projectors.append(projector)
                elif not _is_companion_name(paths[0].name) or self._only == paths[0].name:
                    model = self._describe(model_id, paths)
                    models += [] if model is None else [model]
            if self._find_projectors:
                models = _with_projectors(models, projectors, self._others(directory))
            for model in models:
                found.setdefault(model.id, model)
        for model_id, file in self._further().items():
            paths = _parts(file)
            seen.update(paths)
            found[model_id] = self._describe(model_id, paths) or _missing(model_id, file)
        self._readings = {path: self._readings[path] for path in seen if path in self._readings}
        return dict(sorted(found.items()))

    def _files(self, directory: Path) -> Iterator[Path]:
        if self._only is None:
            yield from _walk(directory, self._follow_links)
            return
        shard = _shard(self._only)
        for path in sorted({*directory.glob("*"), directory / self._only}):
            other = _shard(path.name)
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
            return _out_of_reach(model_id, paths[0], error)
        readings = [self._read(path, stat) for path, stat in zip(paths, stats, strict=True)]
        header = readings[0].header
        if header is not None and _is_companion(header):
            return None
        broken, reason = _diagnose(paths, readings)
        return ModelFile(
            id=model_id,
            path=paths[0],
            size=sum(stat.st_size for stat in stats),
            modified=_time(max(stat.st_mtime for stat in stats)),
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
            reading = _Reading(stamp, read_gguf_header(path), None)
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


def _group(directory: Path, paths: Iterable[Path]) -> Iterator[tuple[str, list[Path]]]:
    """(id, files) pairs; all shards of a split model, in order, under the id of the first."""
    groups: dict[str, list[Path]] = {}
    for path in paths:
        model_id = path.relative_to(directory).with_name(first_shard(path.name)).as_posix()
        groups.setdefault(model_id, []).append(path)
    yield from groups.items()


def _parts(file: Path) -> list[Path]:
    """The file, and the other files of a split model beside it."""
    shard = _shard(file.name)
    if shard is None:
        return [file]
    names = (
        f"{shard['stem']}-{number:05}-of-{shard['count']}{file.name[-5:]}"
        for number in range(1, min(int(shard["count"]), _MAX_SHARDS) + 1)
    )
    return [path for name in names if (path := file.with_name(name)).is_file()] or [file]


def _missing(model_id: str, file: Path) -> ModelFile:
    problem = f"its file {file.name} does not exist, or belongs to another model"
    return ModelFile(model_id, file, 0, _EPOCH, None, broken=problem, reason="missing_file")


def first_shard(name: str) -> str:
    """The name of a split model's first file, given that of any; other names are unchanged."""
    shard = _shard(name)
    return name if shard is None else f"{shard['stem']}-{1:05}-of-{shard['count']}{name[-5:]}"


def _is_companion(header: GgufHeader) -> bool:
    return header.kind in _OTHER_KINDS or header.architecture in _OTHER_ARCHITECTURES


def _diagnose(paths: list[Path], readings: list[_Reading]) -> tuple[str | None, str | None]:
    """Why the model cannot be loaded: a sentence and the reason; both None if it seems fine."""
    if missing := _missing_shard(paths):
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


def _out_of_reach(model_id: str, path: Path, error: OSError) -> ModelFile:
    """A file that cannot be read."""
    problem = f"the file cannot be read: {error.strerror or type(error).__name__}"
    return ModelFile(model_id, path, 0, _EPOCH, None, broken=problem, reason="corrupt_file")


def _time(seconds: float) -> datetime:
    """A file's time; the epoch if it is out of range, which some file systems report."""
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return _EPOCH


def _shard(name: str) -> re.Match[str] | None:
    """The parts of a shard's file name; None if it is not one, or its number is out of range."""
    shard = _SHARD.fullmatch(name)
    if shard is None or not 1 <= int(shard["number"]) <= int(shard["count"]):
        return None
    return shard


def _missing_shard(paths: list[Path]) -> str | None:
    shard = _shard(paths[0].name)
    if shard is None:
        return None
    present = {path.name for path in paths}
    for number in range(1, min(int(shard["count"]), _MAX_SHARDS) + 1):
        name = f"{shard['stem']}-{number:05}-of-{shard['count']}{paths[0].suffix}"
        if name not in present:
            return name
    return None
