"""memory_group finds a folder of the memory controller, in version 1 and 2 of control groups."""

from pathlib import Path

from tests.support.memory_group import memory_group


def made(proc: Path, mounts: str, own: str) -> None:
    (proc / "self").mkdir()
    (proc / "mounts").write_text(mounts)
    (proc / "self" / "cgroup").write_text(own)


def contents(path: Path) -> dict[str, str]:
    """The files of a group; removed, since the folder of a real group can be removed with them."""
    found = {file.name: file.read_text() for file in path.iterdir()}
    for file in path.iterdir():
        file.unlink()
    return found


def test_version_1_has_a_hierarchy_for_memory(tmp_path: Path) -> None:
    cpu, memory = tmp_path / "cpu", tmp_path / "memory"
    memory.mkdir()
    mounts = f"cgroup {cpu} cgroup rw,cpu 0 0\ncgroup {memory} cgroup rw,relatime,memory 0 0\n"
    made(tmp_path, mounts, "4:memory:/some/group\n")
    with memory_group(tmp_path) as group:
        assert group is not None
        assert group.parent == memory
        assert contents(group) == {"memory.limit_in_bytes": "1048576"}
    assert not group.exists()


def test_version_2_uses_the_nearest_group_that_controls_memory(tmp_path: Path) -> None:
    root = tmp_path / "unified"
    (root / "user" / "app" / "shell").mkdir(parents=True)
    for folder, controllers in (("", "cpu memory"), ("user", "memory"), ("user/app", "cpu pids")):
        (root / folder / "cgroup.subtree_control").write_text(f"{controllers}\n")
    made(tmp_path, f"cgroup2 {root} cgroup2 rw 0 0\n", "1:cpu:/\n0::/user/app/shell\n")
    with memory_group(tmp_path) as group:
        assert group is not None
        assert group.parent == root / "user"
        assert contents(group) == {"memory.max": "1048576"}


def test_where_no_group_can_be_made_the_next_hierarchy_is_tried(tmp_path: Path) -> None:
    memory = tmp_path / "memory"
    memory.mkdir()
    mounts = [f"cgroup {folder} cgroup rw,memory 0 0" for folder in (tmp_path / "gone", memory)]
    made(tmp_path, "\n".join(mounts), "")
    with memory_group(tmp_path) as group:
        assert group is not None
        assert group.parent == memory
        contents(group)


def test_without_a_memory_controller_there_is_no_group(tmp_path: Path) -> None:
    root = tmp_path / "unified"
    root.mkdir()
    (root / "cgroup.subtree_control").write_text("cpu io\n")
    made(tmp_path, f"cgroup2 {root} cgroup2 rw 0 0\n", "0::/\n")
    with memory_group(tmp_path) as group:
        assert group is None
