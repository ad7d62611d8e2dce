"""`python -m tests.support.scripted_server_forks`: forks processes that serve scripted models.

Each line of the standard input is a request as JSON, and gets an answer of one line: a Start the
process's id and address, the id of a process nothing but the end of this process. Once the input
ends, so do all processes.
"""

import asyncio
import gc
import json
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any, NoReturn

from aiohttp import web

from tests.support.forks import start_fork_server
from tests.support.server_app import make_app


def main() -> None:
    """Serve requests until the standard input is closed."""
    # One for all: each process would start its own, which costs as much as an interpreter.
    start_fork_server("worker")
    gc.collect()
    gc.freeze()  # a collection in a child would copy the pages of all objects
    pids: set[int] = set()
    try:
        for line in sys.stdin:
            request = json.loads(line)
            if isinstance(request, int):
                _end(request)
                pids.discard(request)
                print(flush=True)
            elif (pid := os.fork()) == 0:
                _become_server(request)
            else:
                # The child prints the answer.
                pids.add(pid)
    finally:
        for pid in pids:
            _end(pid)


def _end(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def _become_server(request: dict[str, Any]) -> NoReturn:
    try:
        os.environ.clear()
        os.environ.update(request["environment"])
        # find_spec() then finds no such package.
        sys.modules.update(dict.fromkeys(request["missing"]))
        asyncio.run(_serve(**request["server"]))
    finally:
        # asyncio.run() does not return. An error must not go on as a second parent.
        traceback.print_exc()
        print(flush=True)
        os._exit(1)


async def _serve(folder: str, port: int, settings: dict[str, Any]) -> None:
    paths = {name: Path(settings[name]) for name in ("hub_cache",) if name in settings}
    app = make_app(Path(folder), **settings | paths)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    print(f"{os.getpid()} http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    # Only answers may be written there.
    os.dup2(2, 1)
    await asyncio.Event().wait()


if __name__ == "__main__":
    main()
