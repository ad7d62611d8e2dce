"""`llamabind report`: prints what a bug report needs."""

from __future__ import annotations

import argparse
import dataclasses
import json
from typing import TYPE_CHECKING

from llamabind.bug_report import format_devices, format_report, make_bug_report

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str]) -> int:
    """Print the report; 1 if the native libraries cannot be used."""
    parser = argparse.ArgumentParser(
        prog="llamabind report",
        description="Print versions, native libraries and devices, as needed for a bug report.",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--devices", action="store_true", help="print the devices only")
    options = parser.parse_args(arguments)
    return print_report(as_json=options.json, devices_only=options.devices)


def print_report(*, as_json: bool, devices_only: bool) -> int:
    """Print the report; 1 if the native libraries cannot be used."""
    report = make_bug_report()
    if as_json:
        print(json.dumps(dataclasses.asdict(report), indent=2))
    elif devices_only and report.native:
        print(format_devices(report.native))
    else:
        print(format_report(report))
    return 0 if report.native else 1
