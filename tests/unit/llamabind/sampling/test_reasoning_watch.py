"""Where the reasoning of an answer in JSON ends, read token by token."""

import pytest

from llamabind.sampling.reasoning_watch import ReasoningWatch
from llamabind.schema.masks.lark import Reasoning


def _n_read(pieces: list[str], *, is_open: bool = False) -> int | None:
    """Number of pieces after which the reasoning is over; None if it is not."""
    watch = ReasoningWatch(Reasoning("<think>", "</think>", is_open, ""))
    for index, piece in enumerate(pieces):
        if watch.is_over(piece.encode()):
            return index + 1
    return None


@pytest.mark.parametrize(
    ("pieces", "is_open", "n_read"),
    [
        (['{"', "a"], False, 1),
        ([" ", "\n", "{"], False, 3),
        (["<", "th", "{"], False, 3),
        (["<think>", "hm", "</think>", "{"], False, 3),
        (["\n<th", "ink>hm", "</th", "ink", ">{"], False, 5),
        (["<think>", "hm", " {", "}"], False, None),
        (["hm", "</think>"], True, 2),
        (["hm</", "think>{"], True, 2),
        (["x" * 100, "</think", ">"], True, 3),
        ([], True, None),
    ],
)
def test_reasoning_is_over_at_its_end_tag_or_if_other_text_begins(
    pieces: list[str], is_open: bool, n_read: int | None
) -> None:
    assert _n_read(pieces, is_open=is_open) == n_read
