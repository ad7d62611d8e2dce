"""The client of docs/getting-started.md prints what the page shows."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.server_process import TINY, ServerProcess

pytestmark = pytest.mark.e2e

PAGE = (ROOT / "docs" / "getting-started.md").read_text()


def test_the_client_of_the_page_prints_what_it_shows(tmp_path: Path):
    [program] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    shown = "".join(f"{line}\n" for line in re.findall(r"^#> (.*)$", program, re.MULTILINE))
    with ServerProcess(tmp_path) as server:
        server.post(f"/api/v2/models/{TINY}/load", {"threads": 1})
        assert program.count("http://127.0.0.1:8080/") == 1
        program = program.replace("127.0.0.1:8080", f"127.0.0.1:{server.port}")
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=False
        )
    assert (done.stdout, done.stderr) == (shown, "")
