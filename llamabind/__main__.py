"""`python -m llamabind` prints what a bug report needs; `--json` the same for machines, `--devices`
the devices only.
"""

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence

from llamabind.bug_report import format_devices, format_report, make_bug_report


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the report; 1 if the native libraries cannot be used."""
    parser = argparse.ArgumentParser(
        prog="python -m llamabind",
        description="Print versions, native libraries and devices, as needed for a bug report.",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--devices", action="store_true", help="print the devices only")
    options = parser.parse_args(arguments)
    report = make_bug_report()
    if options.json:
        print(json.dumps(dataclasses.asdict(report), indent=2))
    elif options.devices and report.native:
        print(format_devices(report.native))
    else:
        print(format_report(report))
    return 0 if report.native else 1


if __name__ == "__main__":
    sys.exit(main())
