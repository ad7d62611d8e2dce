"""The hub's cache on disk: where it is, what it lists, and what a deletion leaves."""

import fcntl
from pathlib import Path

import pytest
from huggingface_hub import scan_cache_dir

from server.catalogue.catalogue import Catalogue
from server.hub.cache import HubCache, default_root
from server.hub.cached import find_cached
from server.hub.deletion import BeingDownloadedError, delete_files, discard_parts
from server.hub.reference import ModelReference
from server.hub.repo_files import RepoFile
from tests.support.gguf_files import write_gguf

_REPO = "org/repo"
_OLD, _NEW = "a" * 40, "b" * 40


@pytest.fixture
def cache(tmp_path: Path) -> HubCache:
    return HubCache(tmp_path / "cache")


def _add(
    cache: HubCache, path: str, commit: str = _NEW, ref: str = "main", etag: str = ""
) -> RepoFile:
    """A model in a commit of the repository."""
    file = RepoFile(path, 0, sha256=(etag or path.replace("/", "_")))
    blob = cache.blob(_REPO, file.etag)
    if not blob.exists():
        blob.parent.mkdir(parents=True, exist_ok=True)
        write_gguf(blob)
    cache.make_link(_REPO, commit, file)
    if ref:
        cache.write_ref(_REPO, ref, commit)
    return file


def _ids(cache: HubCache) -> set[str]:
    return set(Catalogue((), hub=cache).scan())


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({"LLAMA_CACHE": "/l", "HF_HUB_CACHE": "/h"}, "/l"),
        ({"HF_HUB_CACHE": "/h", "HF_HOME": "/home"}, "/h"),
        ({"HUGGINGFACE_HUB_CACHE": "/g", "HF_HOME": "/home"}, "/g"),
        ({"HF_HOME": "/home", "XDG_CACHE_HOME": "/x"}, "/home/hub"),
        ({"XDG_CACHE_HOME": "/x"}, "/x/huggingface/hub"),
        ({"LLAMA_CACHE": "", "HF_HOME": "~/h"}, "~/h/hub"),
        ({}, "~/.cache/huggingface/hub"),
    ],
)
def test_the_folder_is_chosen_in_llama_cpps_order(environment: dict[str, str], folder: str) -> None:
    assert default_root(environment) == Path(folder).expanduser()


def test_models_have_the_repositorys_name_and_that_of_their_quantisation(cache: HubCache) -> None:
    _add(cache, "m-Q4_K_M.gguf")
    _add(cache, "m-Q8_0.gguf")
    _add(cache, "sub/other.gguf")
    models = Catalogue((), hub=cache).scan()
    assert set(models) == {f"{_REPO}/{name}" for name in _names(cache)}
    assert models[f"{_REPO}/m-Q4_K_M.gguf"].aliases == (f"{_REPO}:Q4_K_M", _REPO)
    assert models[f"{_REPO}/m-Q8_0.gguf"].aliases == (f"{_REPO}:Q8_0",)
    assert models[f"{_REPO}/sub/other.gguf"].aliases == ()
    assert scan_cache_dir(cache.root).warnings == []


def test_shards_are_one_model_and_a_missing_one_is_named(cache: HubCache) -> None:
    _add(cache, "m-Q4_0-00001-of-00002.gguf")
    (model,) = Catalogue((), hub=cache).scan().values()
    assert model.reason == "missing_shard"
    _add(cache, "m-Q4_0-00002-of-00002.gguf")
    (model,) = Catalogue((), hub=cache).scan().values()
    assert model.broken is None
    assert model.hub is not None
    assert len(model.hub.paths) == 2


def test_the_models_directory_goes_before_the_cache(cache: HubCache, tmp_path: Path) -> None:
    _add(cache, "m.gguf")
    own = tmp_path / "models"
    (own / "org" / "repo").mkdir(parents=True)
    write_gguf(own / "org" / "repo" / "m.gguf")
    (model,) = Catalogue((own,), hub=cache).scan().values()
    assert model.hub is None


def test_what_is_not_the_hubs_is_not_listed(cache: HubCache, tmp_path: Path) -> None:
    _add(cache, "m.gguf")
    folder = cache.repo_folder(_REPO) / "snapshots" / _NEW
    outside = tmp_path / "outside.gguf"
    write_gguf(outside)
    (folder / "link.gguf").symlink_to(outside)
    (folder / "gone.gguf").symlink_to(tmp_path / "gone.gguf")
    (folder / "loop.gguf").symlink_to("loop.gguf")
    (folder / ".hidden.gguf").touch()
    (folder / "not.bin").touch()
    (cache.root / "datasets--org--repo" / "snapshots" / _NEW).mkdir(parents=True)
    write_gguf(cache.root / "datasets--org--repo" / "snapshots" / _NEW / "d.gguf")
    (cache.root / "models--org" / "snapshots" / _NEW).mkdir(parents=True)
    write_gguf(cache.root / "models--org" / "snapshots" / _NEW / "x.gguf")
    (cache.root / "models--org--repo" / "snapshots" / "no-commit").mkdir()
    write_gguf(cache.root / "models--org--repo" / "snapshots" / "no-commit" / "y.gguf")
    (cache.root / "file").touch()
    assert _ids(cache) == {f"{_REPO}/m.gguf"}


def test_refs_with_nonsense_are_no_refs(cache: HubCache) -> None:
    _add(cache, "m.gguf", ref="")
    refs = cache.repo_folder(_REPO) / "refs"
    refs.mkdir()
    (refs / "main").write_bytes(b"\xff../../etc")
    (refs / "v1").write_text("../snapshots")
    assert _ids(cache) == {f"{_REPO}/m.gguf"}


def test_main_goes_before_commits_without_a_name(cache: HubCache) -> None:
    _add(cache, "m-Q8_0.gguf", _OLD, etag="1")
    _add(cache, "m-Q4_0.gguf", _OLD, etag="2")
    _add(cache, "m-Q8_0.gguf", _NEW, etag="3")
    models = Catalogue((), hub=cache).scan()
    assert set(models) == {
        f"{_REPO}/m-Q8_0.gguf",
        f"{_REPO}/m-Q4_0.gguf",
        f"{_REPO}@{_OLD[:12]}/m-Q8_0.gguf",
    }
    place = models[f"{_REPO}/m-Q8_0.gguf"].hub
    assert place is not None
    assert place.commit == _NEW


@pytest.mark.parametrize(
    ("name", "file", "found"),
    [
        ("org/repo", None, "m-Q4_K_M.gguf"),
        ("org/repo:q8_0", None, "m-Q8_0.gguf"),
        ("org/repo@v1", None, "m-Q2_K.gguf"),
        ("org/repo", "m-Q8_0.gguf", "m-Q8_0.gguf"),
        (f"org/repo@{_OLD}", None, "m-Q2_K.gguf"),
        ("org/repo:Q6_K", None, None),
        ("org/repo@v2", None, None),
        ("org/none", None, None),
    ],
)
def test_a_model_in_the_cache_is_found_by_its_name(
    cache: HubCache, name: str, file: str | None, found: str | None
) -> None:
    _add(cache, "m-Q8_0.gguf")
    _add(cache, "m-Q4_K_M.gguf")
    _add(cache, "m-Q2_K.gguf", _OLD, ref="v1")
    path = find_cached(cache, ModelReference.parse(name), file)
    assert (path.name if path else None) == found


def test_a_model_without_all_its_shards_is_not_in_the_cache(cache: HubCache) -> None:
    reference = ModelReference.parse("org/repo:Q4_0")
    _add(cache, "m-Q4_0-00001-of-00002.gguf")
    assert find_cached(cache, reference) is None
    _add(cache, "m-Q4_0-00002-of-00002.gguf")
    assert find_cached(cache, reference) is not None


def test_a_deletion_keeps_what_other_commits_have(cache: HubCache) -> None:
    _add(cache, "m.gguf", _OLD, ref="v1", etag="1")
    _add(cache, "m.gguf", _NEW, etag="1")
    _add(cache, "n.gguf", _NEW, etag="2")
    size = cache.blob(_REPO, "2").stat().st_size
    assert delete_files(cache, _REPO, _NEW, ["m.gguf"]) == 0
    assert cache.blob(_REPO, "1").exists()
    assert delete_files(cache, _REPO, _NEW, ["n.gguf"]) == size
    assert _ids(cache) == {f"{_REPO}@v1/m.gguf"}
    assert delete_files(cache, _REPO, _OLD, ["m.gguf"]) == size
    assert not cache.repo_folder(_REPO).exists()
    assert scan_cache_dir(cache.root).repos == frozenset()


def test_a_deletion_keeps_parts_of_other_files(cache: HubCache) -> None:
    _add(cache, "m.gguf")
    part = cache.part(_REPO, "other")
    part.write_bytes(b"part")
    delete_files(cache, _REPO, _NEW, ["m.gguf"])
    assert part.exists()


def test_what_another_process_downloads_is_not_removed(cache: HubCache) -> None:
    _add(cache, "m.gguf", etag="1")
    part = cache.part(_REPO, "2")
    part.write_bytes(b"part")
    for etag in ("1", "2"):
        lock = cache.lock(_REPO, etag)
        lock.parent.mkdir(parents=True, exist_ok=True)
        lock.touch()
    with cache.lock(_REPO, "1").open("ab") as one, cache.lock(_REPO, "2").open("ab") as other:
        fcntl.flock(one, fcntl.LOCK_EX)
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(BeingDownloadedError):
            delete_files(cache, _REPO, _NEW, ["m.gguf"])
        discard_parts(cache, _REPO, ["2"])
    assert part.exists()
    assert _ids(cache) == {f"{_REPO}/m.gguf"}
    discard_parts(cache, _REPO, ["2"])
    assert not part.exists()


def test_links_are_relative_so_that_the_cache_can_be_moved(cache: HubCache, tmp_path: Path) -> None:
    _add(cache, "sub/m.gguf")
    moved = cache.root.rename(tmp_path / "moved")
    assert _ids(HubCache(moved)) == {f"{_REPO}/sub/m.gguf"}


def test_a_model_whose_projector_is_in_the_folder_above_has_it(cache: HubCache) -> None:
    _add(cache, "Q4/m-Q4_0.gguf")
    file = _add(cache, "mmproj-F16.gguf")
    write_gguf(cache.blob(_REPO, file.etag), general__architecture="clip")
    (model,) = Catalogue((), hub=cache).scan().values()
    assert model.projector is not None
    assert model.projector.name == f"{_REPO}/mmproj-F16.gguf"


def _names(cache: HubCache) -> list[str]:
    return [file.path for _, file in cache.files_of(_REPO)]
