"""Which files of a repository make a model: llama.cpp's choice of quantisation, shards, projector.

Pure: the files may be those of a hub or those in the cache.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

import msgspec

_DEFAULT_QUANTS = ("Q4_K_M", "Q8_0")
# Files that belong to a model and are never the model: as in llama.cpp, anywhere in the name.
_HELPERS = ("mmproj", "imatrix", "mtp-", "eagle3-", "dflash-", "dspark-")
_PROJECTOR = "mmproj"
_SHARD = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})", re.IGNORECASE)
_TAG = re.compile(r"[-._]([A-Za-z0-9_]+)$")
_QUANT = re.compile(
    r"(?:^|[-._])((?:I?Q\d|TQ\d)\w*|BF16|FP?16|FP?32|MXFP\d\w*|NVFP\d\w*)$", re.IGNORECASE
)
_SUFFIX = ".gguf"
# Real repositories have a few dozen. Each is searched for in all files.
_MAX_QUANTS = 64


class RepoFile(msgspec.Struct, frozen=True):
    """A file of a repository: its path, its size in bytes and its checksums, as the hub has them.

    `sha256` is of files in large file storage, `git_oid` of others.
    """

    path: str
    size: int = 0
    sha256: str | None = None
    git_oid: str | None = None

    @property
    def etag(self) -> str:
        """The name of its blob in the cache."""
        return self.sha256 or self.git_oid or ""


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model in a repository: its shards in order, or its only file, and its projector."""

    parts: tuple[RepoFile, ...]
    projector: RepoFile | None = None

    @property
    def path(self) -> str:
        """The path of the first file."""
        return self.parts[0].path

    @property
    def has_all_parts(self) -> bool:
        """Whether no shard is missing."""
        shard = _shard_of(self.path)
        return shard is None or len(self.parts) == int(shard["count"])

    @property
    def all(self) -> tuple[RepoFile, ...]:
        """All files to download."""
        return self.parts if self.projector is None else (*self.parts, self.projector)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.all)


class NoSuchFileError(Exception):
    """The repository has no such model; the message lists what it has."""


def choose(files: Sequence[RepoFile], quant: str | None, file: str | None = None) -> ModelFiles:
    """The files of the model that `quant` or the path `file` means. Raises NoSuchFileError."""
    if file is not None:
        found = next((one for one in files if one.path == file), None)
    else:
        found = _best(_models(files), quant)
    if found is None:
        wanted = f"file {file!r}" if file is not None else f"quantisation {quant!r}"
        known = ", ".join(_known(files)) or "none"
        missing = "GGUF model" if file is None and quant is None else wanted
        raise NoSuchFileError(f"has no {missing}; its models: {known}")
    return _Helpers(files).whole(found)


def models_in(files: Sequence[RepoFile]) -> list[ModelFiles]:
    """Every model of a repository, in the order of its files."""
    helpers = _Helpers(files)
    return [helpers.whole(file) for file in _models(files)]


def references_of(files: Sequence[RepoFile]) -> dict[str, str]:
    """By the path of each model, the QUANT by which `choose` finds it; "" if it is found without
    one. Models that only `file` finds are not in it.
    """
    models = _models(files)
    default = _best(models, None)
    found = {default.path: ""} if default else {}
    quants = dict.fromkeys(quant for file in models if (quant := quantisation(file.path)))
    for quant in islice(quants, _MAX_QUANTS):
        best = _best(models, quant)
        if best is not None and quantisation(best.path) == quant:
            found[best.path] = quant
    return found


def reference_of(files: Sequence[RepoFile], path: str) -> str | None:
    """The QUANT by which `choose` finds this file; "" if it is found without one, None if only
    `file` finds it.
    """
    models = _models(files)
    quant = quantisation(path)
    found = _best(models, quant) if quant else None
    if found is not None and found.path == path:
        return quant
    found = _best(models, None)
    return "" if found is not None and found.path == path else None


def default_of(files: Sequence[RepoFile]) -> str | None:
    """The path of the model that is meant without a quantisation; None without models."""
    found = _best(_models(files), None)
    return found.path if found else None


def quantisation(path: str) -> str | None:
    """The quantisation at the end of a file's name, in upper case; None without one."""
    found = _QUANT.search(_stem(path.rsplit("/", 1)[-1]))
    return found[1].upper() if found else None


def is_model(path: str) -> bool:
    """Whether it is a model's file by its name, as in llama.cpp."""
    name = path.rsplit("/", 1)[-1].lower()
    return name.endswith(_SUFFIX) and not any(word in name for word in _HELPERS)


def _models(files: Iterable[RepoFile]) -> list[RepoFile]:
    """The first or only file of each model."""
    return [file for file in files if is_model(file.path) and _is_first(file.path)]


def _best(models: Sequence[RepoFile], quant: str | None) -> RepoFile | None:
    for wanted in (quant,) if quant else _DEFAULT_QUANTS:
        # llama.cpp takes F16 for a part of BF16; a name of its own is better.
        for begin in (r"(?<![A-Za-z0-9])", ""):
            pattern = re.compile(f"{begin}{re.escape(wanted)}[.-]", re.IGNORECASE)
            for file in models:
                if pattern.search(file.path):
                    return file
    return models[0] if models and not quant else None


class _Helpers:
    """Finds the other files of a model. Grouped once, as a repository may have thousands of files
    and models.
    """

    def __init__(self, files: Iterable[RepoFile]) -> None:
        self._shards: dict[tuple[str, str], list[RepoFile]] = {}
        self._projectors: dict[str, list[RepoFile]] = {}
        for file in files:
            if shard := _shard_of(file.path):
                self._shards.setdefault((shard["stem"], shard["count"]), []).append(file)
            folder, _, name = file.path.rpartition("/")
            if name.lower().endswith(_SUFFIX) and _PROJECTOR in name.lower():
                self._projectors.setdefault(folder, []).append(file)

    def whole(self, first: RepoFile) -> ModelFiles:
        """The model that begins with this file."""
        shard = _shard_of(first.path)
        parts = [first]
        if shard is not None:
            same = self._shards[shard["stem"], shard["count"]]
            parts = sorted(same, key=lambda file: file.path)
        return ModelFiles(tuple(parts), self._projector(first.path))

    def _projector(self, model: str) -> RepoFile | None:
        """The projector beside the model or in a folder above it, of the nearest number of bits."""
        folder, _, name = model.rpartition("/")
        if _PROJECTOR in name.lower():
            return None
        while not (beside := self._projectors.get(folder)) and folder:
            folder = folder.rpartition("/")[0]
        return min(
            beside or (), key=lambda file: abs(_bits(file.path) - _bits(model)), default=None
        )


def _bits(path: str) -> int:
    tag = _TAG.search(_stem(path))
    number = re.search(r"\d+", tag[1]) if tag else None
    return int(number[0]) if number else 0


def _stem(path: str) -> str:
    stem = path[: -len(_SUFFIX)] if path.lower().endswith(_SUFFIX) else path
    shard = _SHARD.fullmatch(stem)
    return shard["stem"] if shard else stem


def _shard_of(path: str) -> re.Match[str] | None:
    return _SHARD.fullmatch(path[: -len(_SUFFIX)]) if path.lower().endswith(_SUFFIX) else None


def _is_first(path: str) -> bool:
    shard = _shard_of(path)
    return shard is None or int(shard["number"]) == 1


def _known(files: Sequence[RepoFile], limit: int = 20) -> list[str]:
    names = [file.path for file in _models(files)]
    more = [f"{len(names) - limit} more"] if len(names) > limit else []
    return [*names[:limit], *more]
