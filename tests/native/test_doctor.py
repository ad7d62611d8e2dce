"""`llamabind doctor` with the libraries of this checkout."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.native


def test_the_doctor_finds_no_fault_in_this_checkout() -> None:
    command = [sys.executable, "-P", "-m", "llamabind", "doctor", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    findings = {it["name"]: it for it in json.loads(done.stdout)["findings"]}
    assert [name for name, it in findings.items() if it["status"] == "broken"] == []
    assert done.returncode == 0
    assert findings["self test"]["detail"].startswith("computes right; CPU ")
    assert {"llama.cpp", "devices", "GPU", "CPU", "AMX", "memory", "CPUs"} <= findings.keys()
