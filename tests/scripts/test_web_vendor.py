"""The vendored libraries of the web page are unmodified and complete."""

import json
import re

import pytest
from web_vendor import PINS, VENDOR, integrity

from tests.support.paths import ROOT

_PACKAGES = json.loads(PINS.read_text("utf-8"))
_FILES = [file for package in _PACKAGES for file in package["files"]]


@pytest.mark.parametrize("file", _FILES, ids=lambda file: file["to"])
def test_each_file_is_the_pinned_one(file: dict[str, str]) -> None:
    data = (VENDOR / file["to"]).read_bytes()
    assert integrity(data) == file["integrity"], "run scripts/fetch_web_vendor"


def test_the_folder_has_no_other_files() -> None:
    found = {str(path.relative_to(VENDOR)) for path in VENDOR.rglob("*") if path.is_file()}
    assert found == {file["to"] for file in _FILES} | {PINS.name}


def test_each_package_has_its_licence_and_a_row_in_the_notices() -> None:
    notices = (ROOT / "NOTICES.md").read_text("utf-8")
    for package in _PACKAGES:
        assert any(file["from"] == "LICENSE" for file in package["files"]), package["name"]
        assert f"{package['name']} {package['version']}" in notices


def test_no_library_evaluates_text_as_code() -> None:
    for file in _FILES:
        text = (VENDOR / file["to"]).read_text("utf-8")
        assert re.search(r"\beval\(|new Function\(", text) is None, file["to"]
