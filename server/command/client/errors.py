"""Errors that end a subcommand; each message is a sentence for the person at the terminal."""

from typing import Any


class CommandError(Exception):
    """The command failed; main() prints the message to stderr and exits with `exit_status`."""

    exit_status = 1


class UsageError(CommandError):
    """The command line is wrong; the exit status is 2, as for argparse's errors."""

    exit_status = 2


class NoServerError(CommandError):
    """No server listens at the address."""


class DisconnectedError(CommandError):
    """The server closed the connection in the middle of an answer."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(
            "the server closed the connection before its answer was complete"
            f"{f' ({reason})' if reason else ''}; its log says why"
        )


class RefusedError(CommandError):
    """The server answered with an error.

    `status` is the HTTP status (0 for an error inside a stream), `code` the server's word for
    programs, `error` the whole error object.
    """

    def __init__(self, message: str, status: int, error: dict[str, Any]) -> None:
        super().__init__(message)
        self.status = status
        self.error = error
        self.code: str | None = error.get("code")
