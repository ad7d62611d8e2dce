"""A few seconds of scripts/fuzz_api.py; run it by hand for longer."""

import re
import subprocess
import sys

import pytest

from tests.support.paths import ROOT

pytestmark = pytest.mark.e2e

# Event streams never end.
_ENDLESS = 2
_LEAST_OPERATIONS = 50
_LEAST_CASES = 150


@pytest.mark.timeout(400)
def test_no_response_is_a_500_or_differs_from_the_openapi_description() -> None:
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
    # Finding nothing means little unless the fuzzer has reached the operations.
    found = re.search(
        r"Selected: (\d+)/(\d+)\s+Tested: (\d+).* (\d+) generated", run.stdout, re.DOTALL
    )
    assert found is not None, run.stdout[-3000:]
    selected, described, tested, cases = map(int, found.groups())
    assert tested == selected == described - _ENDLESS
    assert tested >= _LEAST_OPERATIONS
    assert cases >= _LEAST_CASES
