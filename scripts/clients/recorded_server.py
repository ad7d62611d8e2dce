"""`python -m clients.recorded_server`: the server, which also writes every request to a file.

The flags are the server's. Two variables change it: CLIENTS_RECORD names the folder for requests,
and with CLIENTS_SCRIPT the models are answered by a script (scripted/script.py).
"""

import itertools
import json
import os
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from clients.scripted.script import VARIABLE
from server import app, serving
from server.__main__ import main
from server.catalogue.companion_files import CompanionFiles
from server.config import ServerConfig
from server.http.body.json_body import BODY
from server.parts.models import ModelParts, make_parts
from server.protocol.loading import Devices
from server.start import run
from server.supervisor.launcher import WorkerLauncher
from server.supervisor.pool import WorkerPool

RECORD = "CLIENTS_RECORD"
_WORKER = (sys.executable, "-m", "clients.scripted")


def _make_parts(config: ServerConfig, **_: Any) -> ModelParts:
    launcher = None
    if VARIABLE in os.environ:
        files = CompanionFiles(config.model_directories, config.companions)
        pool, devices = WorkerPool(_WORKER), Devices(config.device_budget_bytes)
        launcher = WorkerLauncher(pool, config.load_timeout, files, devices)
    return make_parts(config, start_worker=launcher)


def _create_app(config: ServerConfig, parts: ModelParts) -> web.Application:
    made = app.create_app(config, parts)
    if folder := os.environ.get(RECORD):
        # The last one, behind the middleware that reads and unpacks bodies.
        made.middlewares.append(_record(Path(folder)))
    return made


def _record(folder: Path) -> Middleware:
    numbers = itertools.count(1)

    @web.middleware
    async def record(request: web.Request, handler: Handler) -> web.StreamResponse:
        raw = bytes(request.get(BODY) or await request.read())
        document = {
            "method": request.method,
            "path": request.path_qs,
            "headers": sorted(request.headers),
            "body": _parsed(raw),
        }
        name = f"{next(numbers):03d}{request.path.replace('/', '-')}.json"
        (folder / name).write_text(json.dumps(document, indent=1))
        return await handler(request)

    return record


def _parsed(raw: bytes) -> Any:
    try:
        return json.loads(raw) if raw else None
    except ValueError:
        return raw.decode(errors="replace")


if __name__ == "__main__":
    with (
        patch.object(run, "make_parts", _make_parts),
        patch.object(serving, "create_app", _create_app),
    ):
        sys.exit(main())
