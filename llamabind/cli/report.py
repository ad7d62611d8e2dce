"""`llamabind` without a command: prints what a bug report needs."""

from __future__ import annotations

import dataclasses
import json

from llamabind.bug_report import format_devices, format_report, make_bug_report


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
