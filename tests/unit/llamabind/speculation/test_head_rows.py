"""HeadRows: the tokens that heads have yet to compute, each with the hidden state before it."""

from __future__ import annotations

from array import array

import numpy as np

from llamabind.speculation.head_rows import HeadRows


def _hidden(*values: float) -> np.ndarray:
    return np.array(values, np.float32)[:, np.newaxis]


def _rows(*, first: int = 0) -> HeadRows:
    """Tokens 10, 11 and 12; the hidden state of each is its number."""
    rows = HeadRows(1)
    rows.restart(first)
    rows.append(array("i", [10, 11]), _hidden(10, 11))
    rows.append(array("i", [12]), _hidden(12))
    return rows


def test_each_token_has_the_hidden_state_of_the_token_before_it():
    rows = _rows(first=5)
    assert rows.tokens.tolist() == [10, 11, 12]
    assert rows.hidden[:, 0].tolist() == [0, 10, 11, 12]
    assert (rows.first, rows.end) == (5, 8)


def test_appended_hidden_states_are_copied():
    hidden = _hidden(1)
    rows = HeadRows(1)
    rows.append(array("i", [10]), hidden)
    hidden[:] = 9
    assert rows.hidden[:, 0].tolist() == [0, 1]


def test_dropping_computed_tokens_keeps_the_newest_hidden_state():
    rows = _rows()
    rows.drop_before(2)
    assert (rows.first, rows.tokens.tolist(), rows.hidden[:, 0].tolist()) == (2, [12], [11, 12])
    rows.drop_before(9)
    assert (rows.first, rows.tokens.tolist(), rows.hidden[:, 0].tolist()) == (3, [], [12])
    rows.drop_before(1)
    assert rows.first == 3


def test_a_cut_keeps_the_hidden_state_before_it():
    rows = _rows()
    rows.cut(1)
    assert (rows.end, rows.tokens.tolist(), rows.hidden[:, 0].tolist()) == (1, [10], [0, 10])
    rows.cut(4)
    assert rows.end == 1


def test_a_cut_before_the_first_token_leaves_an_unknown_hidden_state():
    rows = _rows(first=5)
    rows.cut(2)
    assert (rows.first, rows.end, rows.owner) == (2, 2, None)
    assert rows.hidden[:, 0].tolist() == [0]
