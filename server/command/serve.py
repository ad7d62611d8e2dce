"""`llamabind serve`: the server, with all flags of `python -m server`."""

from collections.abc import Sequence


def main(arguments: Sequence[str]) -> int:
    """Serve until a signal; returns the exit status."""
    from server.__main__ import main as serve

    return serve(arguments, "llamabind serve")
