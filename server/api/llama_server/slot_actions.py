"""llama-server's POST /slots/{id_slot}: saves, restores or erases a slot's retained prefix."""

import re
from pathlib import Path

from aiohttp import web

from server.api.llama_server.schema_state import SlotFileBody, SlotMovedDocument
from server.api.shared.served_model import served_model
from server.errors import InvalidRequestError, NotSupportedError, StateConflictError
from server.http.access import require_admin
from server.http.app_keys import CONFIG, REGISTRY
from server.http.body.json_body import json_reply, read_body
from server.protocol.tasks import EraseSlot, RestoreSlot, SaveSlot, SlotMoved
from server.requests.dispatch import ask

_ACTIONS = ("save", "restore", "erase")
_MAX_SLOT = 1 << 16
_SLOT = re.compile("[0-9]{1,16}")
_MAX_NAME_BYTES = 255
# Path separators and reserved characters of any system, control characters, and U+FFFD.
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f-\x9f/\\:*?"<>|\ufffd]')


async def act_on_slot(request: web.Request) -> web.Response:
    """POST /slots/{id_slot}?action=save, restore or erase; the files are in --slot-save-path."""
    folder = request.app[CONFIG].slot_save_path
    if folder is None:
        raise NotSupportedError(
            "saving slots is switched off; start the server with --slot-save-path FOLDER"
        )
    require_admin(request)
    slot, action = _slot(request), request.query.get("action", "")
    if action not in _ACTIONS:
        raise InvalidRequestError(
            f"'action' is {action!r}, expected one of {', '.join(_ACTIONS)}", param="action"
        )
    body = await read_body(request, SlotFileBody, empty=SlotFileBody())
    name = served_model(request, body.model or request.query.get("model"))
    entry = await request.app[REGISTRY].find(name)
    if action != "restore" and not entry.is_in_memory:
        raise StateConflictError(
            f"model {entry.id!r} is not loaded, so it has no slots to {action}; load it first",
            code="model_not_loaded",
        )
    task = _task(action, slot, folder, body.filename)
    moved = await ask(request.app[REGISTRY], entry.id, task)
    assert isinstance(moved, SlotMoved)
    return json_reply(_document(task, body.filename or "", moved))


def _slot(request: web.Request) -> int:
    text = request.match_info["id_slot"]
    # The pattern limits the digits: int() raises an error of its own for thousands of them.
    if not _SLOT.fullmatch(text) or int(text) > _MAX_SLOT:
        raise InvalidRequestError(
            f"'id_slot' is {text[:32]!r}, expected a number from 0 to {_MAX_SLOT}", param="id_slot"
        )
    return int(text)


def _task(
    action: str, slot: int, folder: Path, name: str | None
) -> SaveSlot | RestoreSlot | EraseSlot:
    if action == "erase":
        return EraseSlot(slot)
    if name is None:
        raise InvalidRequestError("field 'filename' is required", param="filename")
    _check_file_name("filename", name)
    kind = SaveSlot if action == "save" else RestoreSlot
    return kind(slot, str(folder / name))


def _document(
    task: SaveSlot | RestoreSlot | EraseSlot, name: str, moved: SlotMoved
) -> SlotMovedDocument:
    match task:
        case SaveSlot():
            return SlotMovedDocument(
                id_slot=task.slot,
                filename=name,
                n_saved=moved.n_tokens,
                n_written=moved.n_bytes,
                timings={"save_ms": moved.milliseconds},
            )
        case RestoreSlot():
            return SlotMovedDocument(
                id_slot=task.slot,
                filename=name,
                n_restored=moved.n_tokens,
                n_read=moved.n_bytes,
                timings={"restore_ms": moved.milliseconds},
            )
        case EraseSlot():
            return SlotMovedDocument(id_slot=task.slot, n_erased=moved.n_tokens)


def _check_file_name(field: str, name: str) -> None:
    """Raise InvalidRequestError naming `field` if `name` is not a plain file name."""
    problem = _name_problem(name)
    if problem:
        raise InvalidRequestError(f"field '{field}': {problem}", param=field)


def _name_problem(name: str) -> str | None:
    if not name:
        return "must not be empty"
    if name.startswith(".") or name != name.strip() or name.endswith("."):
        return f"{name!r} must not begin or end with a dot or a space"
    if _FORBIDDEN.search(name) or not name.isprintable():
        return f"{name!r} has characters that a file name must not have; leave out any folder"
    try:
        n_bytes = len(name.encode())
    except UnicodeEncodeError:
        return "the name is not valid Unicode"
    return (
        f"the name has {n_bytes} bytes, at most {_MAX_NAME_BYTES} are allowed"
        if n_bytes > _MAX_NAME_BYTES
        else None
    )
