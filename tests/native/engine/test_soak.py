"""Half a minute of scripts/soak.py: random traffic loses no request, cell, sequence or memory."""

import re
import subprocess
import sys

import pytest

from tests.support.paths import ROOT

pytestmark = pytest.mark.native

_SOAK = ROOT / "scripts" / "soak.py"


@pytest.mark.parametrize("layout", [[], ["--split"]], ids=["unified", "split"])
def test_random_traffic_loses_nothing(layout: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, str(_SOAK), "--seconds", "15", "--threads", "1", *layout],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=_SOAK.parents[1],
        env={"PYTHONPATH": str(_SOAK.parents[1])},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    counts = re.match(r"(\d+) requests: (\{.*\}), (\d+) refused", done.stdout)
    assert counts, done.stdout
    n_requests, n_refused = int(counts[1]), int(counts[3])
    assert n_requests > 0
    assert n_refused > 0, "requests with a broken grammar are refused"
    drafted = re.search(r"(\d+) draft tokens", done.stdout)
    assert drafted, done.stdout
    assert int(drafted[1]) > 0
