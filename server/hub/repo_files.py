"""Which files of a repository make a model: llama.cpp's choice of quantisation, shards, projector.

Pure: the files may be those of a hub or those in the cache.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

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
        found = _best(files, quant)
    if found is None:
        wanted = f"file {file!r}" if file is not None else f"quantisation {quant!r}"
        known = ", ".join(_known(files)) or "none"
        missing = "GGUF model" if file is None and quant is None else wanted
        raise NoSuchFileError(f"has no {missing}; its models: {known}")
    return _whole(files, found)


def models_in(files: Sequence[RepoFile]) -> list[ModelFiles]:
    """Every model of a repository, in the order of its files."""
    return [_whole(files, file) for file in files if is_model(file.path) and _is_first(file.path)]


def reference_of(files: Sequence[RepoFile], path: str) -> str | None:
    """The QUANT by which `choose` finds this file; "" if it is found without one, None if only
    `file` finds it.
    """
    quant = quantisation(path)
    found = _best(files, quant) if quant else None
    if found is not None and found.path == path:
        return quant
    found = _best(files, None)
    return "" if found is not None and found.path == path else None


def default_of(files: Sequence[RepoFile]) -> str | None:
    """The path of the model that is meant without a quantisation; None without models."""
    found = _best(files, None)
    return found.path if found else None


def quantisation(path: str) -> str | None:
    """The quantisation at the end of a file's name, in upper case; None without one."""
    found = _QUANT.search(_stem(path.rsplit("/", 1)[-1]))
    return found[1].upper() if found else None


def is_model(path: str) -> bool:
    """Whether it is a model's file by its name, as in llama.cpp."""
    name = path.rsplit("/", 1)[-1].lower()
    return name.endswith(_SUFFIX) and not any(word in name for word in _HELPERS)


def _best(files: Iterable[RepoFile], quant: str | None) -> RepoFile | None:
    models = [file for file in files if is_model(file.path) and _is_first(file.path)]
    for wanted in (quant,) if quant else _DEFAULT_QUANTS:
        # llama.cpp takes F16 for a part of BF16; a name of its own is better.
        for begin in (r"(?<![A-Za-z0-9])", ""):
            pattern = re.compile(f"{begin}{re.escape(wanted)}[.-]", re.IGNORECASE)
            for file in models:
                if pattern.search(file.path):
                    return file
    return models[0] if models and not quant else None


def _whole(files: Sequence[RepoFile], first: RepoFile) -> ModelFiles:
    shard = _shard_of(first.path)
    parts = [first]
    if shard is not None:
        same = (shard["stem"], shard["count"])
        parts = [
            file
            for file in files
            if (other := _shard_of(file.path)) and (other["stem"], other["count"]) == same
        ]
        parts.sort(key=lambda file: file.path)
    return ModelFiles(tuple(parts), _projector(files, first.path))


def _projector(files: Iterable[RepoFile], model: str) -> RepoFile | None:
    """The projector beside the model or in a folder above it, of the nearest number of bits."""
    if _PROJECTOR in model.rsplit("/", 1)[-1].lower():
        return None
    folders = model.split("/")[:-1]

    def rank(file: RepoFile) -> tuple[int, int]:
        return -file.path.count("/"), abs(_bits(file.path) - _bits(model))

    beside = [
        file
        for file in files
        if file.path.lower().endswith(_SUFFIX)
        and _PROJECTOR in file.path.rsplit("/", 1)[-1].lower()
        and file.path.split("/")[:-1] == folders[: file.path.count("/")]
    ]
    return min(beside, key=rank, default=None)


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
    names = [file.path for file in files if is_model(file.path) and _is_first(file.path)]
    more = [f"{len(names) - limit} more"] if len(names) > limit else []
    return [*names[:limit], *more]
