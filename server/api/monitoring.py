"""The state of the server in figures. Nothing here wakes a model or waits for one."""

from aiohttp import web
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from server.errors import NotSupportedError
from server.formats import uptime
from server.http.app_keys import CONFIG, METRICS, STATUS, SYSTEM
from server.http.json_body import json_reply


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


async def system_metrics(request: web.Request) -> web.Response:
    """GET /api/v2/metrics: the machine, as it was sampled within the last second."""
    return json_reply(request.app[SYSTEM].document)


async def prometheus(request: web.Request) -> web.Response:
    """GET /metrics, in Prometheus' text format; no worker is asked."""
    if not request.app[CONFIG].metrics:
        raise NotSupportedError("/metrics is switched off; start the server with --metrics")
    body = generate_latest(request.app[METRICS].registry)
    # llama-server's header: a dashboard sees from it when counters began anew.
    started = {"Process-Start-Time-Unix": str(request.app[STATUS].started_at)}
    return web.Response(body=body, headers=started | {"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})


async def only_post(request: web.Request) -> web.Response:
    """Any other method where a model's id could swallow the path's last part."""
    raise web.HTTPMethodNotAllowed(request.method, ["POST"])
