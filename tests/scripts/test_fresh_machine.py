"""scripts/fresh_machine reads README's commands and refuses wrong use; a real run needs root."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.support.paths import ROOT

SCRIPT = ROOT / "scripts" / "fresh_machine"


def test_readme_names_the_packages_to_install() -> None:
    named = re.findall(r"`apt install ([^`]*)`", (ROOT / "README.md").read_text())
    assert [set(packages.split()) for packages in named] == [
        {"git", "python3", "python3-venv", "g++"}
    ]


def test_readme_has_one_curl_command_for_the_first_answer() -> None:
    section = (ROOT / "README.md").read_text().split("## First answers")[1].split("\n```\n")[0]
    assert section.count("$ ") == section.count("$ curl http://127.0.0.1:8080/") == 1


@pytest.mark.parametrize("name", ["fresh_machine", "fresh_machine_inside.sh", "check_sdist"])
def test_the_script_has_no_bash_syntax_error(name: str) -> None:
    command = ["bash", "-n", str(ROOT / "scripts" / name)]
    assert subprocess.run(command, capture_output=True, check=False).stderr == b""


def test_an_unknown_option_is_refused_before_any_work() -> None:
    done = subprocess.run([SCRIPT, "--kep"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "unknown option --kep; the options are --with-source and --keep" in done.stderr
