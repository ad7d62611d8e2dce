"""An answer as the terminal shows it, and the notes after it."""

from __future__ import annotations

from server.command.talk.answer import Answer, Printer, ending_note, speed_note


class _Terminal:
    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return True


def test_reasoning_is_dimmed_in_a_terminal_and_left_out_of_a_pipe(monkeypatch, capsys):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    terminal = _Terminal()
    printer = Printer(terminal)  # type: ignore[arg-type]
    printer.reasoning("hm")
    printer.reasoning(" so")
    printer.content("\n\nParis\x1b[2J")
    printer.end_line()
    assert terminal.text == "\x1b[2m[reasoning] hm so\x1b[0m\n\nParis[2J\n"
    pipe = Printer()
    pipe.reasoning("hm")
    pipe.content("Paris\x1b[2J")
    pipe.end_line()
    assert capsys.readouterr().out == "Paris\x1b[2J\n"


def test_colours_end_with_a_stopped_answer(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    terminal = _Terminal()
    printer = Printer(terminal)  # type: ignore[arg-type]
    printer.reasoning("hm")
    printer.end_line()
    assert terminal.text.endswith("\x1b[0m\n")


def test_notes_after_an_answer():
    assert ending_note(Answer(finish_reason="stop")) == ""
    assert "cut off" in ending_note(Answer(finish_reason="length"))
    assert ending_note(Answer(was_stopped=True)) == "(stopped)"
    assert speed_note(Answer(), 1.5) == "1.5 s"
