"""The models of the hub's cache, as the catalogue lists them."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from server.catalogue.model_file import HubPlace, ModelFile
from server.catalogue.projectors import ProjectorFile
from server.catalogue.split_models import files_of
from server.hub.cache import HubCache, Snapshot, walk
from server.hub.reference import MAIN
from server.hub.repo_files import NoSuchFileError, RepoFile, choose, default_of, references_of

_SHORT_COMMIT = 12


@dataclass(frozen=True, slots=True)
class HubFolder:
    """Files of one commit of a repository whose models have ids that begin with `prefix`."""

    snapshot: Snapshot
    prefix: str
    files: list[Path] = field(default_factory=list)

    @property
    def path(self) -> Path:
        """The commit's folder."""
        return self.snapshot.folder

    def place_of(self, first: Path) -> HubPlace:
        """Where the model with this first file is."""
        paths = tuple(file.relative_to(self.path).as_posix() for file in files_of(first))
        snapshot = self.snapshot
        return HubPlace(snapshot.repo, snapshot.commit, paths, snapshot.revisions)


def hub_folders(cache: HubCache) -> Iterator[HubFolder]:
    """The GGUF files of the cache, by commit, under the beginnings of their ids.

    Files of main are org/repo/FILE, those of another branch or tag org/repo@REVISION/FILE. A commit
    that has no name any more, after main went on, keeps org/repo/FILE for what the new commit has
    not; the rest is org/repo@COMMIT/FILE, so that it can be seen and deleted.
    """
    taken: dict[str, str] = {}
    root = Path(os.path.realpath(cache.root))
    for snapshot in cache.snapshots():
        is_other = bool(snapshot.revisions) and snapshot.revisions[0] != MAIN
        plain = HubFolder(snapshot, f"{snapshot.repo}/")
        suffix = snapshot.revisions[0] if is_other else snapshot.commit[:_SHORT_COMMIT]
        other = HubFolder(snapshot, f"{snapshot.repo}@{suffix}/")
        for file in walk(snapshot.folder, ".gguf"):
            real = os.path.realpath(file)
            # A link out of the cache is not the hub's; some links lead nowhere.
            if not Path(real).is_relative_to(root) or not os.path.isfile(real):  # noqa: PTH113
                continue
            name = plain.prefix + file.relative_to(snapshot.folder).as_posix()
            if is_other:
                other.files.append(file)
            elif name not in taken:
                taken[name] = real
                plain.files.append(file)
            elif taken[name] != real:
                other.files.append(file)
        yield from (folder for folder in (plain, other) if folder.files)


def with_chosen_projector(
    model: ModelFile, folder: HubFolder, projectors: Iterable[ProjectorFile]
) -> ModelFile:
    """The model with the projector that a download chooses for it, unless it has one: it may be in
    the folder above.
    """
    if model.projector is not None or model.hub is None or not model.generates:
        return model
    names = [file.relative_to(folder.path).as_posix() for file in folder.files]
    try:
        chosen = choose([RepoFile(name) for name in names], None, model.hub.paths[0]).projector
    except NoSuchFileError:
        return model
    path = folder.path / chosen.path if chosen else None
    found = next((one for one in projectors if one.path == path), None)
    return replace(model, projector=found)


def add_aliases(models: Sequence[ModelFile]) -> list[ModelFile]:
    """The models with the names by which they are downloaded: org/repo:QUANT, and org/repo for the
    one that is meant without a quantisation.
    """
    groups: dict[str, list[ModelFile]] = {}
    for model in models:
        groups.setdefault(_repo_of(model), []).append(model)
    named: list[ModelFile] = []
    for repo, members in groups.items():
        files = [RepoFile(model.id.removeprefix(f"{repo}/")) for model in members]
        default, references = default_of(files), references_of(files)
        base, at, revision = repo.partition("@")
        for model, file in zip(members, files, strict=True):
            quant = references.get(file.path)
            aliases = []
            for ending in dict.fromkeys((at + revision, *_other_endings(model))):
                aliases += [f"{base}:{quant}{ending}"] if quant else []
                aliases += [f"{base}{ending}"] if file.path == default else []
                aliases += [f"{base}{ending}/{file.path}"]
            named.append(replace(model, aliases=tuple(one for one in aliases if one != model.id)))
    return named


def _other_endings(model: ModelFile) -> list[str]:
    """What names the model's commit by a branch or tag; without one it is main's."""
    assert model.hub is not None, "every model of the cache has a HubPlace"
    return ["" if name == MAIN else f"@{name}" for name in model.hub.revisions]


def _repo_of(model: ModelFile) -> str:
    """What the id has before the file: org/repo, or org/repo@revision."""
    assert model.hub is not None, "every model of the cache has a HubPlace"
    return model.id.removesuffix(model.hub.paths[0]).rstrip("/")
