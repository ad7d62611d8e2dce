"""find_cached: the file of a model of the hub that is in the cache already."""

from pathlib import Path

from server.hub.cache import HubCache
from server.hub.reference import MAIN, ModelReference
from server.hub.repo_files import NoSuchFileError, RepoFile, choose


def find_cached(cache: HubCache, reference: ModelReference, file: str | None = None) -> Path | None:
    """The model's first file, of the newest commit that has it; None if no commit has it.

    Blocking: use a thread.
    """
    folders: dict[Path, list[RepoFile]] = {}
    for snapshot, found in cache.files_of(reference.repo):
        names = (*snapshot.revisions, snapshot.commit)
        # A commit without a name is one that main had before.
        if reference.revision in names or (reference.revision == MAIN and not snapshot.revisions):
            folders.setdefault(snapshot.folder, []).append(found)
    for folder, files in folders.items():
        try:
            model = choose(files, reference.quant, file)
        except NoSuchFileError:
            continue
        if model.has_all_parts:
            return folder / model.path
    return None
