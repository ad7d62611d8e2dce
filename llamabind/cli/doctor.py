"""`llamabind doctor`: checks this installation and machine, one line per finding.

The exit status is 1 if something is broken, else 0.
"""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from llamabind.cli import sentence

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT_PORT = 8080  # the server's; a test compares them
LAST_PORT = 65535


def main(arguments: Sequence[str]) -> int:
    """Print the findings; 1 if something is broken."""
    options = _parser().parse_args(arguments)
    from llamabind.doctor import examine, format_findings, to_json

    findings = examine(port=options.port, with_self_test=not options.no_self_test)
    if options.json:
        print(json.dumps(to_json(findings), indent=2))
    else:
        print(format_findings(findings))
    return 1 if any(finding.status == "broken" for finding in findings) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="llamabind doctor",
        description=f"{sentence('doctor')} Exit status 1 if something is broken.",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--port",
        type=_port,
        default=DEFAULT_PORT,
        help="port to check for the server (default %(default)s)",
    )
    parser.add_argument(
        "--no-self-test",
        action="store_true",
        help="skip the test that computes with the bundled model",
    )
    return parser


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= LAST_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: a number from 1 to {LAST_PORT}")
    return int(text)
