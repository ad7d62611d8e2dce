"""A few seconds of scripts/fuzz_api.py; minutes of it are for a person to run."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e

_ROOT = Path(__file__).parents[2]


def test_no_500_and_no_answer_that_the_description_does_not_have() -> None:
    command = [sys.executable, str(_ROOT / "scripts" / "fuzz_api.py"), "--seconds", "8"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]
