"""format_table: rows under headings, in columns that fit the terminal."""

from collections.abc import Sequence
from typing import Final

from server.command.terminal.screen import safe, shortened, text_width

_GAP: Final = "   "
_MIN_COLUMN: Final = 6


def format_table(
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    width: int | None = None,
    right: Sequence[str] = (),
) -> str:
    """The table as text. Columns named in `right` are aligned to the right.

    If it is wider than `width` columns, the widest columns are shortened; None cuts nothing, as for
    a pipe, where another program reads the cells.
    """
    cells = [list(headings), *([safe(cell).replace("\n", " ") for cell in row] for row in rows)]
    widths = [max(text_width(row[column]) for row in cells) for column in range(len(headings))]
    if width is not None:
        _fit(widths, width - len(_GAP) * (len(headings) - 1))
    lines = []
    for row in cells:
        parts = [
            _padded(shortened(cell, widths[column]), widths[column], headings[column] in right)
            for column, cell in enumerate(row)
        ]
        lines.append(_GAP.join(parts).rstrip())
    return "\n".join(lines)


def format_pairs(pairs: Sequence[tuple[str, str]], indent: str = "  ") -> str:
    """Lines of a name and its value, the values in one column."""
    longest = max((text_width(name) for name, _ in pairs), default=0)
    return "\n".join(
        f"{indent}{_padded(name, longest, to_right=False)}  {safe(value)}" for name, value in pairs
    )


def _fit(widths: list[int], available: int) -> None:
    """Take columns of text from the widest until the sum fits, or all are at their minimum."""
    while sum(widths) > available:
        widest = max(range(len(widths)), key=widths.__getitem__)
        if widths[widest] <= _MIN_COLUMN:
            return
        widths[widest] -= 1


def _padded(text: str, width: int, to_right: bool) -> str:
    space = " " * (width - text_width(text))
    return f"{space}{text}" if to_right else f"{text}{space}"
