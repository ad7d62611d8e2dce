"""llama-server's POST and DELETE /models: download and delete models."""

from typing import Any
from urllib.parse import quote

from aiohttp import web

from server.api.llama_server.schema_models import ModelBody, SuccessDocument
from server.api.shared.hub_deletion import delete_model as delete_from_cache
from server.errors import ForbiddenError, InvalidRequestError, ModelNotFoundError
from server.http.access import require_admin
from server.http.app_keys import DOWNLOADS, LOOKUPS, REGISTRY
from server.http.body.json_body import json_reply, read_body
from server.hub.download import Download
from server.hub.errors import read_reference
from server.hub.reference import BadReferenceError, ModelReference
from server.models.events import DownloadChanged, ModelsChanged


async def download_model(request: web.Request) -> web.Response:
    """POST /models: answers when the download has started; /models/sse tells how it goes."""
    require_admin(request)
    body = await read_body(request, ModelBody)
    _, is_new = await request.app[DOWNLOADS].start(read_reference(body.model))
    if not is_new:
        raise InvalidRequestError(
            f"model {body.model[:200]!r} already exists, or is being downloaded",
            param="model",
            code="model_exists",
        )
    return json_reply(SuccessDocument())


async def delete_model(request: web.Request) -> web.Response:
    """DELETE /models?model=NAME: deletes a downloaded model, or ends its download and removes what
    there is of it.
    """
    require_admin(request)
    name = request.query.get("model", "")
    if not name:
        raise InvalidRequestError("'model' must be the name of a model", param="model")
    download = running_download(request.app, name)
    if download is not None:
        await request.app[DOWNLOADS].cancel(download.id, discard=True)
        return json_reply(SuccessDocument())
    try:
        entry = await request.app[REGISTRY].find(name)
    except ModelNotFoundError as error:
        error.param = "model"
        raise
    try:
        await delete_from_cache(request.app, entry)
    except ForbiddenError as error:
        raise InvalidRequestError(error.message, param="model", code=error.code) from None
    return json_reply(SuccessDocument())


def running_download(app: web.Application, name: str) -> Download | None:
    """The unfinished download of this name."""
    try:
        return app[DOWNLOADS].find(ModelReference.parse(name))
    except BadReferenceError:
        return None


def download_documents(app: web.Application, event: DownloadChanged) -> list[dict[str, Any]]:
    """A download's event in llama-server's form: progress, and its end."""
    download = event.download
    name = download["model"]
    match download["state"]:
        case "running":
            where = f"{app[LOOKUPS].endpoint}/{download['repo']}/resolve/{download['revision']}"
            progress = {
                f"{where}/{quote(file['file'])}": {
                    "done": file["bytes_done"],
                    "total": file["bytes"],
                }
                for file in download["files"]
            }
            return [{"model": name, "event": "download_progress", "data": {"progress": progress}}]
        case "completed":
            return [{"model": name, "event": "download_finished", "data": {}}]
        case "failed" | "cancelled":
            return [{"model": name, "event": "download_failed", "data": {}}]
        case _:
            return []


def change_documents(event: ModelsChanged) -> list[dict[str, Any]]:
    """A change of the list in llama-server's form."""
    removed = [{"model": name, "event": "model_remove", "data": {}} for name in event.removed]
    return removed or [{"model": "*", "event": "models_reload"}]
