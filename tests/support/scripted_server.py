"""The real application over scripted workers as a process that prints its address when ready:
`python -m tests.support.scripted_server FOLDER PORT SETTINGS`, with fields of ServerConfig as JSON.
"""

import asyncio
import json
import sys
from pathlib import Path

from aiohttp import web

from tests.support.server_app import make_app


async def main(folder: str, port: str, settings: str) -> None:
    """Serve until the process is ended."""
    app = make_app(Path(folder), **json.loads(settings))
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", int(port))
    await site.start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    try:
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
