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
    optional: Sequence[str] = (),
) -> str:
    """The table as text. Columns named in `right` are aligned to the right.

    If it is wider than `width` columns, columns of `optional` are left out, the first one first,
    then the widest cells are shortened. With None, as for a pipe, nothing is left out or cut.
    """
    cells = [list(headings), *([safe(cell).replace("\n", " ") for cell in row] for row in rows)]
    shown = list(range(len(headings)))
    widths = [max(text_width(row[column]) for row in cells) for column in shown]
    if width is not None:
        for heading in optional:
            if _total(widths, shown) <= width:
                break
            shown.remove(headings.index(heading))
        _fit(widths, shown, width)
    lines = []
    for row in cells:
        parts = [
            _padded(
                shortened(row[column], widths[column]), widths[column], headings[column] in right
            )
            for column in shown
        ]
        lines.append(_GAP.join(parts).rstrip())
    return "\n".join(lines)


def format_pairs(pairs: Sequence[tuple[str, str]], indent: str = "  ") -> str:
    """Lines of a name and its value, the values in one column."""
    longest = max((text_width(name) for name, _ in pairs), default=0)
    return "\n".join(
        f"{indent}{_padded(name, longest, to_right=False)}  {safe(value)}" for name, value in pairs
    )


def _total(widths: Sequence[int], shown: Sequence[int]) -> int:
    return sum(widths[column] for column in shown) + len(_GAP) * (len(shown) - 1)


def _fit(widths: list[int], shown: Sequence[int], width: int) -> None:
    """Narrow the widest columns until the table fits, or all are at their minimum."""
    while _total(widths, shown) > width:
        widest = max(shown, key=widths.__getitem__)
        if widths[widest] <= _MIN_COLUMN:
            return
        widths[widest] -= 1


def _padded(text: str, width: int, to_right: bool) -> str:
    space = " " * (width - text_width(text))
    return f"{space}{text}" if to_right else f"{text}{space}"
