"""docs/loading.md names every setting of a load."""

import re

import msgspec

from server.protocol.load_settings import LoadSettings
from tests.support.paths import ROOT

DOCUMENT = ROOT / "docs" / "loading.md"


def test_every_setting_is_documented():
    rows = [line for line in DOCUMENT.read_text().splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    settings = {field.name for field in msgspec.structs.fields(LoadSettings)}
    assert settings - named == set()
