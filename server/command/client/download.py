"""download: pull a model through a server, with a progress bar; Ctrl-C pauses it."""

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

from server.command.client import paths
from server.command.client.client import Client
from server.command.client.errors import CommandError, DisconnectedError, RefusedError
from server.command.terminal.formats import size
from server.command.terminal.progress import ProgressBar, transfer_note
from server.command.terminal.screen import say

_ENDED: Final = ("completed", "failed", "cancelled")


def download(
    client: Client, model: str, file: str | None = None, *, as_json: bool = False
) -> dict[str, Any]:
    """Download `model` (`org/repo[:QUANT][@revision]`); returns the completed Download.

    With `as_json` each state is a line of JSON on stdout in place of the bar. Ctrl-C cancels the
    download on the server, which keeps what has arrived. Raises CommandError.
    """
    body = {"model": model} | ({"file": file} if file else {})
    try:
        state: dict[str, Any] = client.post(paths.DOWNLOADS, body)
    except RefusedError as refused:
        # To the person at the terminal these are words of the command line, not fields.
        message = re.sub(r"^field '(model|file)': ", "", str(refused))
        raise RefusedError(message, refused.status, refused.error) from None
    if not as_json and state["state"] not in _ENDED:
        total = state.get("bytes_total")
        say(f"downloading {state['model']}{f' ({size(total)})' if total else ''}")
    try:
        state = _follow(client, state, as_json=as_json)
    except KeyboardInterrupt:
        _pause(client, state["id"])
        if not as_json:
            say(f"paused; `llamabind pull {model}` continues it")
        raise
    if state["state"] not in _ENDED:
        raise DisconnectedError
    if state["state"] == "failed":
        error = state.get("error") or {}
        raise CommandError(
            f"{model} was not downloaded: {error.get('message') or error.get('code')}"
        )
    if state["state"] == "cancelled":
        raise CommandError(
            f"the download of {model} was paused elsewhere; `llamabind pull {model}` continues it"
        )
    return state


def _follow(client: Client, first: dict[str, Any], *, as_json: bool) -> dict[str, Any]:
    last = first
    with ProgressBar("pulling") as bar:
        for state in _states(client, first):
            last = state
            if as_json:
                print(json.dumps(state), flush=True)
            elif state["state"] not in _ENDED:
                _show(bar, state)
    return last


def _states(client: Client, first: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The states of a download until it ends, beginning with this one."""
    yield first
    if first["state"] not in _ENDED:
        yield from client.stream("GET", paths.download_path(first["id"], stream="true"))


def _show(bar: ProgressBar, state: dict[str, Any]) -> None:
    done, total = state["bytes_done"], state.get("bytes_total")
    if state["state"] == "queued":
        bar.show(None, "waiting to start")
        return
    note = transfer_note(done, total, state.get("bytes_per_second"), state.get("eta_seconds"))
    bar.show(done / total if total else None, note)


def _pause(client: Client, download_id: str) -> None:
    # After a second Ctrl-C, or if the server has ended, there is nothing left to pause.
    with suppress(CommandError, KeyboardInterrupt):
        client.delete(paths.download_path(download_id))
