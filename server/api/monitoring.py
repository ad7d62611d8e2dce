"""Metrics and health of the server. Nothing here loads a model or waits for one."""

from aiohttp import web
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from server.errors import NotSupportedError
from server.formats import uptime
from server.http.app_keys import CONFIG, METRICS, REGISTRY, STATUS, SYSTEM
from server.http.body.json_body import json_reply
from server.monitoring.model_figures import metrics_document


async def health(request: web.Request) -> web.Response:
    """GET /api/v2/health: always "healthy"; a crash of a worker only sets last_error."""
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
    """GET /api/v2/metrics: CPU, memory, GPUs, models and the last errors, sampled within the last
    second.
    """
    app = request.app
    entries, errors = app[REGISTRY].entries, app[STATUS].recent_errors
    return json_reply(metrics_document(app[SYSTEM].document, entries, app[METRICS], errors))


async def prometheus(request: web.Request) -> web.Response:
    """GET /metrics, in Prometheus' text format; does not wait for workers."""
    if not request.app[CONFIG].metrics:
        raise NotSupportedError("/metrics is switched off; start the server with --metrics")
    body = generate_latest(request.app[METRICS].registry)
    # llama-server's header, from which dashboards see when the counters were reset.
    started = {"Process-Start-Time-Unix": str(request.app[STATUS].started_at)}
    return web.Response(body=body, headers=started | {"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})


async def only_post(request: web.Request) -> web.Response:
    """405 for other methods: without this route the path's last part would match as a model id."""
    raise web.HTTPMethodNotAllowed(request.method, ["POST"])
