"""EstimateStore: estimates that outlive the server, and files that cannot be believed."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from server.protocol.loading import DeviceMemory, Estimated
from server.supervisor.estimate_store import (
    EstimateStore,
    estimate_file,
    installed_build,
    key_of,
)

_HOST = DeviceMemory("CPU", "host", 100, 20, 3, 1000, 2000)
_ESTIMATED = Estimated(devices=(_HOST,), n_ctx=4096, n_gpu_layers=0, warnings=("a warning",))


async def _written(file: Path, build: str = "b") -> None:
    store = EstimateStore(file, build)
    store.put("key", _ESTIMATED)
    await store.close()


async def _read(file: Path, build: str = "b") -> Estimated | None:
    return await EstimateStore(file, build).get("key")


async def test_an_estimate_is_read_at_the_next_start(tmp_path: Path) -> None:
    file = tmp_path / "new" / "estimates"
    await _written(file)
    assert await _read(file) == _ESTIMATED
    assert [path.name for path in file.parent.iterdir()] == ["estimates"]
    assert file.stat().st_mode & 0o077 == 0


async def test_another_build_or_machine_estimates_again(tmp_path: Path) -> None:
    await _written(tmp_path / "estimates")
    assert await _read(tmp_path / "estimates", "other") is None


@pytest.mark.parametrize("content", [b"", b"\xff" * 40, msgspec.msgpack.encode({"format": 1})])
async def test_a_corrupt_file_is_ignored_and_replaced(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "estimates"
    file.write_bytes(content)
    assert await _read(file) is None
    await _written(file)
    assert await _read(file) == _ESTIMATED


@pytest.mark.parametrize("n_cut", [1, 30])
async def test_a_file_that_was_cut_off_is_ignored(tmp_path: Path, n_cut: int) -> None:
    file = tmp_path / "estimates"
    await _written(file)
    file.write_bytes(file.read_bytes()[:-n_cut])
    assert await _read(file) is None


@pytest.mark.parametrize(
    "changed",
    [
        msgspec.structs.replace(_ESTIMATED, devices=()),
        msgspec.structs.replace(_ESTIMATED, n_ctx=0),
        msgspec.structs.replace(
            _ESTIMATED, devices=(msgspec.structs.replace(_HOST, model_bytes=-1),)
        ),
        msgspec.structs.replace(
            _ESTIMATED, devices=(_HOST, msgspec.structs.replace(_HOST, kind="gpu"))
        ),
    ],
)
async def test_values_that_no_estimate_has_are_ignored(tmp_path: Path, changed: Estimated) -> None:
    file = tmp_path / "estimates"
    store = EstimateStore(file, "b")
    store.put("key", changed)
    await store.close()
    assert await _read(file) is None


async def test_a_folder_that_cannot_be_written_costs_only_the_memory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    store = EstimateStore(tmp_path / "file" / "estimates", "b")
    store.put("key", _ESTIMATED)
    await store.close()
    assert await store.get("key") == _ESTIMATED


async def test_every_estimate_is_in_the_file_and_the_oldest_are_dropped(tmp_path: Path) -> None:
    file = tmp_path / "estimates"
    store = EstimateStore(file, "b")
    for number in range(300):
        store.put(f"key {number}", _ESTIMATED)
        if number % 50 == 0:
            await asyncio.sleep(0)
    await store.close()
    read = EstimateStore(file, "b")
    assert await read.get("key 43") is None
    assert await read.get("key 44") == await read.get("key 299") == _ESTIMATED


def test_the_build_changes_with_the_libraries_and_the_variables(tmp_path: Path) -> None:
    environment = {"LLAMABIND_LIB_DIR": str(tmp_path)}
    empty = installed_build(environment)
    (tmp_path / "libllama.so").write_bytes(b"1")
    first = installed_build(environment)
    (tmp_path / "libllama.so").write_bytes(b"12")
    second = installed_build(environment)
    assert len({empty, first, second, installed_build(environment | {"GGML_X": "1"})}) == 4
    assert installed_build(environment | {"HOME": "/x"}) == second


def test_the_file_is_in_the_users_cache() -> None:
    assert estimate_file({"XDG_CACHE_HOME": "/c"}) == Path("/c/llamabind/estimates")
    home = Path.home() / ".cache" / "llamabind" / "estimates"
    assert estimate_file({"XDG_CACHE_HOME": "relative"}) == home


def test_a_variable_names_another_file_or_none() -> None:
    cache = {"XDG_CACHE_HOME": "/c"}
    assert estimate_file(cache | {"LLAMABIND_ESTIMATES": "/d/e"}) == Path("/d/e")
    assert estimate_file(cache | {"LLAMABIND_ESTIMATES": ""}) is None


def test_keys_depend_on_every_value() -> None:
    assert key_of(("a", 1)) == key_of(("a", 1)) != key_of(("a", 2))
