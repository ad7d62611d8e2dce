"""`python -m server.worker --fd N`: started by the server, not by users."""

from llamabind.system.quick_imports import quick_imports

with quick_imports():
    import argparse
    import logging
    import socket
    import sys
    from typing import NoReturn

    from server.worker.loading.estimate import estimate_load
    from server.worker.loading.load import load_worker_engine
    from server.worker.session.session import serve


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
    serve(socket.socket(fileno=arguments.fd), load_worker_engine, estimate_load)


if __name__ == "__main__":
    main()
