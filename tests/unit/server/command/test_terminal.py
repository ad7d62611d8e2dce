"""Tables, bars, sizes and times, as people and pipes get them."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import pytest

from server.command.terminal import screen
from server.command.terminal.formats import ago, count, duration, size
from server.command.terminal.progress import ProgressBar, progress_line, transfer_note
from server.command.terminal.screen import has_colours, safe, shortened, styled, text_width
from server.command.terminal.table import format_pairs, format_table

ROWS = [("a-very-long-name-of-a-model.gguf", "1.2 GB"), ("b", "12 MB")]


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_table_has_aligned_columns():
    text = format_table(("NAME", "SIZE"), ROWS, right=("SIZE",))
    assert text.split("\n") == [
        "NAME                                 SIZE",
        "a-very-long-name-of-a-model.gguf   1.2 GB",
        "b                                   12 MB",
    ]


def test_a_narrow_terminal_gets_shorter_cells_and_a_pipe_all_of_them():
    text = format_table(("NAME", "SIZE"), ROWS, width=24)
    assert max(map(len, text.split("\n"))) <= 24
    assert "a-very-long-na…" in text
    assert "a-very-long-name-of-a-model.gguf" in format_table(("NAME", "SIZE"), ROWS, width=None)


def test_a_narrow_terminal_loses_columns_before_names():
    headings, rows = ("NAME", "SIZE", "TYPE"), [("model-a.gguf", "1 GB", "llama")]
    optional = ("TYPE", "SIZE")
    assert "llama" in format_table(headings, rows, width=40, optional=optional)
    text = format_table(headings, rows, width=20, optional=optional)
    assert text.split("\n") == ["NAME           SIZE", "model-a.gguf   1 GB"]
    assert format_table(headings, rows, width=12, optional=optional) == "NAME\nmodel-a.gguf"
    assert "model-…" in format_table(headings, rows, width=7, optional=optional)
    assert "llama" in format_table(headings, rows, optional=optional)


def test_cells_of_wide_characters_stay_aligned():
    lines = format_table(("NAME", "SIZE"), [("模型.gguf", "1"), ("model.gguf", "2")]).split("\n")
    assert [text_width(line[: line.index("1")]) for line in lines[1:2]] == [13]
    assert lines[2].index("2") == 13


def test_a_cell_cannot_move_the_cursor():
    assert "\x1b" not in format_table(("NAME",), [("evil\x1b[2J\rname\nnext",)])
    assert format_table(("NAME",), [("a\nb",)]).count("\n") == 1
    assert safe("a\x1b]0;title\x07b\x9b1mc\td\n") == "a]0;titleb1mc\td\n"


def test_pairs_have_their_values_in_one_column():
    assert format_pairs([("a", "1"), ("long", "2")]) == "  a     1\n  long  2"


@pytest.mark.parametrize(
    ("text", "width", "result"), [("abc", 3, "abc"), ("abcd", 3, "ab…"), ("模型型", 4, "模…")]
)
def test_a_text_is_shortened_by_its_width(text, width, result):
    assert shortened(text, width) == result


@pytest.mark.parametrize("width", range(10, 120, 7))
def test_a_bar_never_exceeds_its_line(width):
    line = progress_line("pulling", 0.456, "1.2 GB of 4.6 GB, 34 MB/s, 1 min 40 s left", width)
    assert text_width(line) <= width


def test_a_bar_shows_the_fraction():
    assert progress_line("x", 0.5, "", 29) == "x [██████████░░░░░░░░░░]  50%"
    assert progress_line("x", 7.0, "", 30).endswith(" 100%")
    assert progress_line("x", None, "waiting", 30) == "x waiting"


def test_a_bar_is_drawn_in_a_terminal_only(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    pipe = io.StringIO()
    monkeypatch.setattr("sys.stderr", pipe)
    with ProgressBar("x") as bar:
        bar.show(0.5)
    assert pipe.getvalue() == ""
    terminal = _Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with ProgressBar("x") as bar:
        bar.show(0.5)
    assert "50%" in terminal.getvalue()
    assert terminal.getvalue().endswith("\r\x1b[K")
    hidden = _Terminal()
    monkeypatch.setattr("sys.stderr", hidden)
    with ProgressBar("x", 3600) as bar:
        bar.show(0.5)
    monkeypatch.setenv("TERM", "dumb")
    with ProgressBar("x") as bar:
        bar.show(0.5)
    assert hidden.getvalue() == ""


@pytest.mark.parametrize(
    ("variables", "is_coloured"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)],
)
def test_colours_are_for_terminals_that_want_them(variables, is_coloured, monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert has_colours(_Terminal()) is is_coloured
    assert (styled("a", "dim", _Terminal()) != "a") is is_coloured
    assert not has_colours(io.StringIO())


def test_a_narrow_terminal_has_a_least_width(monkeypatch):
    monkeypatch.setenv("COLUMNS", "3")
    assert screen.terminal_width(_Terminal()) == 20
    assert screen.terminal_width(io.StringIO()) is None


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 B"), (999, "999 B"), (1_210_000, "1.15 MB"), (4_580_000_000, "4.27 GB"),
     (1023 << 10, "1023 kB"), (12_345_678_901_234_567, "11228 TB"), (None, "-")],
)  # fmt: skip
def test_sizes(number, text):
    assert size(number) == text


@pytest.mark.parametrize(
    ("number", "text"), [(7_620_000_000, "7.62B"), (1_070_000, "1.07M"), (12, "12"), (None, "-")]
)
def test_counts(number, text):
    assert count(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.42, "0.4 s"), (42, "42 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")]
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_how_long_ago():
    now = datetime(2026, 1, 10, tzinfo=UTC)
    assert ago("2026-01-07T00:00:00Z", now) == "3 days ago"
    assert ago("2026-01-09T23:00:00Z", now) == "1 hour ago"
    assert ago("2026-01-10T00:00:00Z", now) == "just now"
    assert ago(None) == "-"


def test_the_note_of_a_transfer_leaves_out_what_is_not_known():
    assert transfer_note(1 << 30, 4 << 30, 5 << 20, 600) == "1 GB of 4 GB, 5 MB/s, 10 min 0 s left"
    assert transfer_note(1 << 30, None, None, None) == "1 GB"
