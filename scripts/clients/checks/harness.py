"""Where the server is, and how the result of a check is reported."""

import json
import os
import time
import traceback
from collections.abc import Callable

BASE = os.environ.get("CLIENTS_BASE_URL", "")
MODEL = os.environ.get("CLIENTS_MODEL", "")
EMBEDDING_MODEL = os.environ.get("CLIENTS_EMBEDDING_MODEL", "")
KEY = "none"

Check = Callable[[], None]


class CheckFailedError(AssertionError):
    """An answer is not as it should be."""


def expect(condition: object, found: object) -> None:
    """Fail with what was found, unless the condition holds."""
    if not condition:
        raise CheckFailedError(f"found {found!r}")


def run_checks(*checks: Check) -> None:
    """Run each check and print its result as one line of JSON. The name is the function's."""
    for check in checks:
        start = time.monotonic()
        error = ""
        try:
            check()
        except Exception as exception:  # noqa: BLE001 - whatever a client raises is the result
            error = "".join(traceback.format_exception(exception)[-1:]).strip()
            if os.environ.get("CLIENTS_TRACEBACKS"):
                traceback.print_exc()
        report(check.__name__, error, time.monotonic() - start)


def report(name: str, error: str, seconds: float) -> None:
    """Print the result of one check."""
    print("RESULT " + json.dumps({"check": name, "error": error, "seconds": seconds}), flush=True)
