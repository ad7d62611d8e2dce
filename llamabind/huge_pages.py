"""Whether Linux gives this process memory in huge pages; pure Python."""

from __future__ import annotations

from pathlib import Path

from llamabind.control_groups import read_text

SETTING = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def has_huge_pages(setting: Path = SETTING) -> bool:
    """Tell whether memory that asks for huge pages may get them: not on other systems, and not
    where they are turned off.
    """
    text = read_text(setting)
    return "[always]" in text or "[madvise]" in text
