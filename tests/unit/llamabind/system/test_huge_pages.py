"""has_huge_pages reads the kernel's setting."""

from pathlib import Path

import pytest

from llamabind.system.host_memory import has_huge_pages


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[always] madvise never\n", True),
        ("always [madvise] never\n", True),
        ("always madvise [never]\n", False),
        ("", False),
    ],
)
def test_huge_pages_are_there_unless_they_are_turned_off(
    tmp_path: Path, text: str, *, expected: bool
) -> None:
    setting = tmp_path / "enabled"
    setting.write_text(text)
    assert has_huge_pages(setting) is expected


def test_other_systems_have_none(tmp_path: Path) -> None:
    assert not has_huge_pages(tmp_path / "missing")
