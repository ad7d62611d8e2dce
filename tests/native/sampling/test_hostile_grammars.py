"""Hostile grammars, trigger patterns and schemas: refused or bounded, never a crash."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.hostile_grammars import HARMLESS, PATTERNS, REFUSED, SCHEMAS, TRIED
from tests.support.paths import ROOT

pytestmark = pytest.mark.native

_MEMORY_LIMIT = 8 << 30


def _limit_memory() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_LIMIT, _MEMORY_LIMIT))


@pytest.fixture(scope="module")
def outcomes(vocab_dir: Path) -> dict[tuple[str, str], str]:
    """The outcome of each case, by kind and name."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.support.hostile_grammars",
            vocab_dir / "ggml-vocab-qwen2.gguf",
        ],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        preexec_fn=_limit_memory,
        cwd=ROOT,
    )
    lines = done.stdout.splitlines()
    assert done.returncode == 0, f"died in {lines[-1:]}: {done.stderr[-500:]}"
    decoder = json.JSONDecoder()
    found = {}
    for line in lines:
        case, end = decoder.raw_decode(line)
        found[(case[0], case[1])] = json.loads(line[end:])
    return found


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_a_grammar_that_would_break_llama_cpp_is_refused_with_the_reason(outcomes, name):
    assert outcomes["refused", name].startswith("refused: grammar: ")
    assert REFUSED[name][1] in outcomes["refused", name]


@pytest.mark.parametrize("name", sorted(TRIED))
def test_a_grammar_at_the_limits_comes_to_an_end(outcomes, name):
    print(outcomes["tried", name])
    assert outcomes["tried", name].startswith(("allows ", "refused: "))


@pytest.mark.parametrize("name", sorted(PATTERNS))
def test_a_hostile_trigger_pattern_comes_to_an_end(outcomes, name):
    print(outcomes["pattern", name])
    assert outcomes["pattern", name].startswith(("accepted ", "refused: triggers[0]"))


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_a_schema_that_cannot_be_enforced_is_refused(outcomes, name):
    expected = "grammar of " if name in HARMLESS else "refused: json_schema"
    assert outcomes["schema", name].startswith(expected)
