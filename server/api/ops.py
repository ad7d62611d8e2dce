"""Health, for people and for probes. Never wakes a model."""

from aiohttp import web

from server.formats import uptime
from server.keys import STATUS
from server.replies import json_reply


async def health(request: web.Request) -> web.Response:
    """GET /api/v2/health: healthy as long as the server serves; a crash only sets last_error."""
    status = request.app[STATUS]
    return json_reply(
        {
            "status": "healthy",
            "version": status.version,
            "uptime": uptime(status.uptime_seconds),
            "last_error": status.last_error,
        }
    )


async def probe(_request: web.Request) -> web.Response:
    """GET /health: llama-server's form."""
    return json_reply({"status": "ok"})
