"""The file names of split models: `NAME-00001-of-00003.gguf` and its siblings."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

_SHARD = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf", re.IGNORECASE)
_MAX_SHARDS = 1000


def first_shard(name: str) -> str:
    """The name of a split model's first file, given that of any; other names are unchanged."""
    shard = shard_of(name)
    return name if shard is None else f"{shard['stem']}-{1:05}-of-{shard['count']}{name[-5:]}"


def shard_of(name: str) -> re.Match[str] | None:
    """The parts of a shard's file name; None if it is not one, or its number is out of range."""
    shard = _SHARD.fullmatch(name)
    if shard is None or not 1 <= int(shard["number"]) <= int(shard["count"]):
        return None
    return shard


def group_shards(directory: Path, paths: Iterable[Path]) -> Iterator[tuple[str, list[Path]]]:
    """(id, files) pairs; all shards of a split model, in order, under the id of the first."""
    groups: dict[str, list[Path]] = {}
    for path in paths:
        model_id = path.relative_to(directory).with_name(first_shard(path.name)).as_posix()
        groups.setdefault(model_id, []).append(path)
    yield from groups.items()


def files_of(file: Path) -> list[Path]:
    """The file and the other files of a split model beside it."""
    shard = shard_of(file.name)
    if shard is None:
        return [file]
    names = (
        f"{shard['stem']}-{number:05}-of-{shard['count']}{file.name[-5:]}"
        for number in range(1, min(int(shard["count"]), _MAX_SHARDS) + 1)
    )
    return [path for name in names if (path := file.with_name(name)).is_file()] or [file]


def missing_shard(paths: list[Path]) -> str | None:
    """The name of the first file that a split model lacks; None if it is complete."""
    shard = shard_of(paths[0].name)
    if shard is None:
        return None
    present = {path.name for path in paths}
    for number in range(1, min(int(shard["count"]), _MAX_SHARDS) + 1):
        name = f"{shard['stem']}-{number:05}-of-{shard['count']}{paths[0].suffix}"
        if name not in present:
            return name
    return None
