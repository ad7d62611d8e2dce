"""Owners of native objects close everything, also when something of it fails."""

import pytest

from llamabind.native.handle import Handle


class _Fake(Handle[int]):
    """Notes when it is freed; `broken` ones fail at it."""

    def __init__(self, name: str, freed: list[str], *parents: Handle, broken: bool = False):
        super().__init__(1, *parents)
        self._name, self._freed, self._broken = name, freed, broken

    def _free(self, handle: int) -> None:
        self._freed.append(self._name)
        if self._broken:
            raise RuntimeError(self._name)


def test_children_are_freed_before_their_parent_newest_first():
    freed: list[str] = []
    parent = _Fake("parent", freed)
    children = [_Fake(f"child{i}", freed, parent) for i in range(3)]
    parent.close()
    assert freed == ["child2", "child1", "child0", "parent"]
    assert all(child.is_closed for child in children)


def test_a_child_that_fails_to_close_keeps_neither_its_siblings_nor_its_parent_open():
    freed: list[str] = []
    parent = _Fake("parent", freed)
    children = [_Fake(f"child{i}", freed, parent, broken=i == 1) for i in range(3)]
    with pytest.raises(RuntimeError, match="child1"):
        parent.close()
    assert freed == ["child2", "child1", "child0", "parent"]
    parent.close()
    assert len(freed) == 4
    assert all(child.is_closed for child in children)
