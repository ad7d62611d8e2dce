"""`python -m server.worker --fd N`: started by the server, not by users."""

from llamabind.system.quick_imports import quick_imports

with quick_imports():
    import argparse
    import contextlib
    import logging
    import socket
    import sys
    import threading
    import time
    from typing import TYPE_CHECKING, NoReturn

    from server.worker.loading.begin import load_worker_engine
    from server.worker.session.session import serve

if TYPE_CHECKING:
    from server.protocol.loading import Estimate, Estimated

# The thread that loads a model waits this long for the GIL while the engine is imported; it takes
# the GIL for each line of native code's log.
_SWITCH_SECONDS = 0.0001

_NUMPY_SECONDS = 1.0


def main() -> NoReturn:
    """Serve one model over an inherited socket until the server closes it."""
    parser = argparse.ArgumentParser(prog="python -m server.worker")
    parser.add_argument("--fd", type=int, required=True, help="inherited socket to the server")
    arguments = parser.parse_args()
    # The server reads this output: it logs warnings, and keeps the last lines for failure reports.
    logging.basicConfig(
        level=logging.INFO,
        format="%(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    threading.Thread(target=_import_engine, name="imports", daemon=True).start()
    serve(socket.socket(fileno=arguments.fd), load_worker_engine, _estimate_load)


def _import_engine() -> None:
    """Import what makes an engine, while the server sends the load and native code reads the file.

    If an import fails, the load fails with it. NumPy takes half as long as all of these, and a
    usual first answer needs none of it: it follows a second later, if nothing needed it before.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_SECONDS)
    try:
        with contextlib.suppress(Exception), quick_imports():
            import server.worker.loading.load  # noqa: F401
    finally:
        sys.setswitchinterval(before)
    time.sleep(_NUMPY_SECONDS)
    with contextlib.suppress(Exception):
        import numpy as np  # noqa: F401


def _estimate_load(message: "Estimate") -> "Estimated":
    from server.worker.loading.estimate import estimate_load

    return estimate_load(message)


if __name__ == "__main__":
    main()
