"""A few seconds of scripts/fuzz_api.py; minutes of it are for a person to run."""

import re
import subprocess
import sys

import pytest

from tests.support.paths import ROOT

pytestmark = pytest.mark.e2e

# Streams of events never end.
_ENDLESS = 2
_LEAST_OPERATIONS = 50
_LEAST_CASES = 150


@pytest.mark.timeout(400)
def test_no_500_and_no_answer_that_the_description_does_not_have() -> None:
    script = str(ROOT / "scripts" / "fuzz_api.py")
    command = [
        sys.executable,
        script,
        "--quick",
        "--seconds",
        "300",
    ]  # far less: so many cases each
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]
    # A fuzzer that has reached nothing has found nothing.
    found = re.search(
        r"Selected: (\d+)/(\d+)\s+Tested: (\d+).* (\d+) generated", run.stdout, re.DOTALL
    )
    assert found is not None, run.stdout[-3000:]
    selected, described, tested, cases = map(int, found.groups())
    assert tested == selected == described - _ENDLESS
    assert tested >= _LEAST_OPERATIONS
    assert cases >= _LEAST_CASES
