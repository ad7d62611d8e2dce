"""Health and figures, for people and for probes. Nothing here wakes a model or waits for one."""

from aiohttp import web

from server.formats import uptime
from server.keys import STATUS, SYSTEM
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


async def system_metrics(request: web.Request) -> web.Response:
    """GET /api/v2/metrics: the machine, as it was sampled within the last second."""
    return json_reply(request.app[SYSTEM].document)
