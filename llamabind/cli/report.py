"""`llamabind report`: prints what a bug report needs."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from typing import TYPE_CHECKING

from llamabind.bug_report import format_devices, format_report, make_bug_report
from llamabind.errors import LlamaError
from llamabind.native.remote_devices import add_rpc_servers

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
    parser.add_argument(
        "--rpc", metavar="HOST:PORT,...", default="", help="add the devices of these RPC servers"
    )
    options = parser.parse_args(arguments)
    rpc = tuple(word for word in options.rpc.split(",") if word)
    return print_report(as_json=options.json, devices_only=options.devices, rpc=rpc)


def print_report(*, as_json: bool, devices_only: bool, rpc: Sequence[str] = ()) -> int:
    """Print the report, with the devices of the RPC servers `rpc`; 1 if the native libraries or one
    of these servers cannot be used.
    """
    if rpc:
        try:
            add_rpc_servers(rpc)
        except LlamaError as error:
            print(f"--rpc: {getattr(error, 'detail', error)}", file=sys.stderr)
            return 1
    report = make_bug_report()
    if as_json:
        print(json.dumps(dataclasses.asdict(report), indent=2))
    elif devices_only and report.native:
        print(format_devices(report.native))
    else:
        print(format_report(report))
    return 0 if report.native else 1
