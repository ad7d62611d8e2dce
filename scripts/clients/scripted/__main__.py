"""`python -m clients.scripted --fd N`: a worker with a ScriptedEngine."""

import argparse
import logging
import socket
import sys
from typing import NoReturn

from clients.scripted.engine import load_scripted_engine
from server.worker.loading.estimate import estimate_load
from server.worker.session.session import serve


def main() -> NoReturn:
    """Serve one model over an inherited socket until the server closes it."""
    parser = argparse.ArgumentParser(prog="python -m clients.scripted")
    parser.add_argument("--fd", type=int, required=True)
    logging.basicConfig(
        level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )
    serve(socket.socket(fileno=parser.parse_args().fd), load_scripted_engine, estimate_load)


if __name__ == "__main__":
    main()
