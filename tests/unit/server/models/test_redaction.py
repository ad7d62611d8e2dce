"""Logs and failures for clients contain no paths of the server's machine."""

from pathlib import Path

import pytest

from server.models.redaction import redact_detail, redact_line, redact_log

_PATH = Path("/srv/my models/org/m.gguf")


@pytest.mark.parametrize(
    ("text", "public"),
    [
        ("/srv/my models/org/m.gguf: no such tensor", "org/m.gguf: no such tensor"),
        (
            "/srv/my models/org lacks m-00002-of-2.gguf",
            "the models directory lacks m-00002-of-2.gguf",
        ),
        ("in /srv/my models/org/m-00002.gguf", "in m-00002.gguf"),
        ("/build/llama.cpp/src/model.cpp:12: GGML_ASSERT(x)", "model.cpp:12: GGML_ASSERT(x)"),
        ("cannot open '/home/me/a.bin': no", "cannot open 'a.bin': no"),
        ("one\ntwo\r\n\x1b[31mthree", "one two [31mthree"),
        ("10/20 tokens, 1/2 done", "10/20 tokens, 1/2 done"),
        ("see https://example.com/a/b for more", "see https://example.com/a/b for more"),
    ],
)
def test_paths_become_names_and_text_becomes_one_line(text: str, public: str) -> None:
    assert redact_line(text, _PATH, "org/m.gguf") == public


def test_long_text_is_cut() -> None:
    assert len(redact_detail("x" * 10_000, _PATH, "m")) == 500
    log = redact_log(["y" * 10_000] * 50, _PATH, "m")
    assert [len(line) for line in log] == [300] * 10


def test_a_log_for_clients_has_only_warnings_errors_and_native_lines() -> None:
    lines = ["INFO llamabind: 4 layers", "ERROR llamabind: bad tensor", "GGML_ASSERT(x) failed"]
    assert redact_log(lines, _PATH, "m") == ("ERROR llamabind: bad tensor", "GGML_ASSERT(x) failed")
