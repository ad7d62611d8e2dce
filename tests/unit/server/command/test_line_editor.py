"""Completion of what a person types in a chat."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.command.talk.line_editor import completions


def _complete(line: str) -> list[str]:
    return completions(line, ["/model", "/save", "/set", "/image"], lambda: ["a.gguf", "b.gguf"])


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("/s", ["/save ", "/set "]),
        ("/x", []),
        ("hello /s", []),
        ("", []),
        ("/model ", ["a.gguf", "b.gguf"]),
        ("/model b", ["b.gguf"]),
        ("/set t", []),
    ],
)
def test_commands_and_models(line: str, found: list[str]):
    assert _complete(line) == found


def test_paths(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cat.png").touch()
    (tmp_path / "cats").mkdir()
    (tmp_path / "c[1].png").touch()
    assert _complete("/image ca") == ["cat.png", "cats/"]
    assert _complete("/image c[") == ["c[1].png"]
    assert _complete(f"/image {tmp_path}/cat.") == [f"{tmp_path}/cat.png"]
