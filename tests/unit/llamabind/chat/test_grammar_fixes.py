"""The grammar of a required tool call allows no text before it; reasoning stays."""

import pytest

from llamabind.chat.grammar_fixes import without_talk


@pytest.mark.parametrize(
    ("root", "expected"),
    [
        ('"x" space until-169? tool-calls', '"x" space tool-calls'),
        ('"x" until-76 tool-calls', '"x" tool-calls'),
        ("space until-64 space tool-call-root", "space space tool-call-root"),
        (
            '("<think>" until-4 "</think>")? until-147? tool-call',
            '("<think>" until-4 "</think>")? tool-call',
        ),
        ("start (thought | ) tool-call", "start (thought | ) tool-call"),
        ("until-12? end", "until-12? end"),
    ],
)
def test_only_the_text_before_the_call_is_removed(root: str, expected: str) -> None:
    rest = 'a ::= "b" until-1 tool-call\n'
    assert without_talk(f"root ::= {root}\n{rest}") == f"root ::= {expected}\n{rest}"
