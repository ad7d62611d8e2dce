"""The repositories of the fake hub: files held in memory, on disk, or made while they are sent."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

_BLOCK = 1 << 20


class HubFile:
    """One file of a repository: `head`, then made-up bytes up to `size`. Large files cost no disk.

    With `path` the bytes are those of that file.
    """

    def __init__(
        self, head: bytes = b"", size: int | None = None, *, path: Path | None = None
    ) -> None:
        self._head = head
        self._path = path
        self.size = path.stat().st_size if path else len(head) if size is None else size

    @cached_property
    def sha256(self) -> str:
        digest = hashlib.sha256()
        for piece in self.read(0, self.size):
            digest.update(piece)
        return digest.hexdigest()

    @cached_property
    def git_oid(self) -> str:
        digest = hashlib.sha1(b"blob %d\0" % self.size)
        for piece in self.read(0, self.size):
            digest.update(piece)
        return digest.hexdigest()

    def read(self, start: int, stop: int) -> Iterator[bytes]:
        """The bytes from `start` to before `stop`, at most 1 MiB at a time."""
        while start < stop:
            piece = self._piece(start, min(stop - start, _BLOCK - start % _BLOCK))
            yield piece
            start += len(piece)

    def _piece(self, start: int, count: int) -> bytes:
        if self._path is not None:
            with self._path.open("rb") as file:
                file.seek(start)
                return file.read(count)
        if start < len(self._head):
            return self._head[start : start + count]
        # Each block differs from the others, so that a piece at the wrong place is noticed.
        number, offset = divmod(start, _BLOCK)
        seed = hashlib.sha256(b"%d" % number).digest() + bytes(range(1, 226))
        turned = seed[offset % len(seed) :] + seed[: offset % len(seed)]
        return (turned * (count // len(seed) + 1))[:count]


@dataclass
class HubRepo:
    """A repository with one commit, known as `main` and by the names in `revisions`.

    `gated`: files need a token in `tokens`. `is_private`: without one even the name is unknown.
    """

    name: str
    files: dict[str, HubFile]
    revisions: tuple[str, ...] = ("main",)
    gated: bool = False
    is_private: bool = False
    tokens: frozenset[str] = frozenset()
    downloads: int = 100
    likes: int = 10
    tags: tuple[str, ...] = ("gguf",)
    updated: str = "2026-01-02T03:04:05.000Z"
    salt: str = field(default="", repr=False)

    @property
    def commit(self) -> str:
        """Changes with `salt`, as if something else had been committed."""
        return hashlib.sha1(f"{self.name}{sorted(self.files)}{self.salt}".encode()).hexdigest()

    def has_revision(self, revision: str) -> bool:
        return revision in self.revisions or revision == self.commit

    def info(self, *, with_blobs: bool) -> dict[str, object]:
        """What /api/models/{name} answers."""
        return {
            "_id": "0" * 24,
            "id": self.name,
            "modelId": self.name,
            "author": self.name.split("/")[0],
            "sha": self.commit,
            "lastModified": self.updated,
            "createdAt": self.updated,
            "private": self.is_private,
            "gated": "manual" if self.gated else False,
            "disabled": False,
            "downloads": self.downloads,
            "likes": self.likes,
            "tags": list(self.tags),
            "siblings": [_sibling(path, file, with_blobs) for path, file in self.files.items()],
        }

    def tree(self) -> list[dict[str, object]]:
        """What /api/models/{name}/tree/{revision}?recursive=true answers."""
        return [
            {"type": "file", "path": path, "size": file.size, **_oids(path, file)}
            for path, file in self.files.items()
        ]


def is_lfs(path: str) -> bool:
    """Whether the hub keeps the file in its large file storage, which knows its SHA-256."""
    return path.endswith(".gguf")


def _sibling(path: str, file: HubFile, with_blobs: bool) -> dict[str, object]:
    entry: dict[str, object] = {"rfilename": path}
    if with_blobs:
        entry |= {"size": file.size, "blobId": "1" * 40 if is_lfs(path) else file.git_oid}
        if is_lfs(path):
            entry["lfs"] = {"sha256": file.sha256, "size": file.size, "pointerSize": 135}
    return entry


def _oids(path: str, file: HubFile) -> dict[str, object]:
    if not is_lfs(path):
        return {"oid": file.git_oid}
    return {
        "oid": "1" * 40,
        "lfs": {"oid": file.sha256, "size": file.size, "pointerSize": 135},
    }


def read_folder(folder: Path) -> list[HubRepo]:
    """The repositories in `folder`: folder/org/repo/path/to/file."""
    return [
        HubRepo(
            f"{repo.parent.name}/{repo.name}",
            {
                path.relative_to(repo).as_posix(): HubFile(path=path)
                for path in sorted(repo.rglob("*"))
                if path.is_file()
            },
        )
        for repo in sorted(folder.glob("*/*"))
        if repo.is_dir()
    ]


def sample_repos(model: Path, big_mb: int = 1024) -> list[HubRepo]:
    """Repositories to try things with: `model` in several quantisations, a gated one, and one of
    `big_mb` whose bytes are made while they are sent.
    """
    head = model.read_bytes()
    tiny = HubFile(path=model)
    return [
        HubRepo(
            "fake/tiny-chat-GGUF",
            {
                "README.md": HubFile(b"# A tiny model\n"),
                "tiny-chat-F16.gguf": tiny,
                "tiny-chat-Q4_K_M.gguf": tiny,
                "tiny-chat-Q8_0.gguf": HubFile(head + b"\0" * 32),
            },
            downloads=12_345,
        ),
        HubRepo(
            "fake/big-GGUF",
            {
                "big-Q8_0.gguf": HubFile(head, big_mb << 20),
                "big-Q4_K_M.gguf": HubFile(head, 64 << 20),
            },
        ),
        HubRepo(
            "fake/gated-GGUF",
            {"gated-Q4_K_M.gguf": tiny},
            gated=True,
            tokens=frozenset({"hf_" + "a" * 34}),
        ),
    ]
