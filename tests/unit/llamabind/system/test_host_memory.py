"""host_memory: a container's limit counts, page cache does not."""

import psutil

from llamabind.system.host_memory import host_memory

MIB = 1 << 20


def _group(folder, limit, used, cache, names):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in zip(names, (limit, used), strict=True):
        (folder / name).write_text(f"{text}\n")
    prefix = "" if names[0] == "memory.max" else "total_"
    # The pages of a file that was read twice are active.
    (folder / "memory.stat").write_text(
        f"anon 1\n{prefix}inactive_file {cache // 4}\n{prefix}active_file {cache - cache // 4}\n"
    )


V2 = ("memory.max", "memory.current")
V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes")


def test_without_groups_it_is_the_machine(tmp_path):
    free, total = host_memory(tmp_path, tmp_path / "none")
    assert total == psutil.virtual_memory().total
    assert 0 < free < total


def test_the_limit_of_a_group_or_of_its_parent_counts(tmp_path):
    own = tmp_path / "own"
    own.write_text("0::/a/b\n")
    _group(tmp_path / "a", 100 * MIB, 60 * MIB, 20 * MIB, V2)
    _group(tmp_path / "a" / "b", "max", 10 * MIB, 0, V2)
    assert host_memory(tmp_path, own) == (60 * MIB, 100 * MIB)


def test_version_one_is_read_too(tmp_path):
    own = tmp_path / "own"
    own.write_text("5:cpu:/x\n4:memory:/x\n")
    _group(tmp_path / "memory" / "x", 50 * MIB, 70 * MIB, 0, V1)
    assert host_memory(tmp_path, own) == (0, 50 * MIB)
    _group(tmp_path / "memory" / "x", 50 * MIB, 40 * MIB, 8 * MIB, V1)
    assert host_memory(tmp_path, own) == (18 * MIB, 50 * MIB)
