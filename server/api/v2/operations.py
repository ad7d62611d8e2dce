"""The routes of downloads and of the hub, for the OpenAPI description."""

from typing import Final

from server.api.schema.operation import BODY, MODEL, Operation
from server.api.schema.replies import hub
from server.api.v2.downloads import DownloadBody

_FLAG = {"type": "boolean"}
_HUB = (400, 403, 404, 500, 501, 502, 503)

OPERATIONS: Final[dict[tuple[str, str], Operation]] = {
    ("GET", "/api/v2/downloads"): Operation(
        tag="Hub",
        summary="List the downloads since the server's start",
        reply=hub.DownloadsDocument,
    ),
    ("POST", "/api/v2/downloads"): Operation(
        tag="Hub",
        summary="Download a model from the hub, or continue a download",
        body=DownloadBody,
        needs_body=True,
        reply=hub.DownloadDocument,
        starts=True,
        streams=True,
        events=(hub.DownloadDocument,),
        errors=(*_HUB, *BODY, 429, 507),
        query=(("stream", _FLAG),),
    ),
    ("GET", "/api/v2/downloads/{id}"): Operation(
        tag="Hub",
        summary="Show a download, or watch it to its end",
        reply=hub.DownloadDocument,
        streams=True,
        events=(hub.DownloadDocument,),
        errors=(*MODEL, 429, 503),
        query=(("stream", _FLAG),),
    ),
    ("DELETE", "/api/v2/downloads/{id}"): Operation(
        tag="Hub",
        summary="Cancel a download; a later one continues it, unless `discard` is set",
        reply=hub.DownloadDocument,
        errors=MODEL,
        query=(("discard", _FLAG),),
    ),
    ("GET", "/api/v2/hub/models"): Operation(
        tag="Hub",
        summary="Search the hub for repositories with GGUF files",
        reply=hub.HubSearch,
        errors=_HUB,
        query=(("search", {"type": "string"}), ("limit", {"type": "integer"})),
    ),
    ("GET", "/api/v2/hub/models/{org}/{repo}"): Operation(
        tag="Hub",
        summary="List the models of a repository, and whether they fit into free memory",
        reply=hub.HubFiles,
        errors=_HUB,
        query=(("revision", {"type": "string"}),),
    ),
    ("DELETE", "/api/v2/models/{model_id}"): Operation(
        tag="Hub",
        summary="Delete a downloaded model from the hub's cache",
        reply=hub.DeletedModel,
        errors=(*MODEL, 409, 500),
    ),
}
