"""start_sites: accepts the connections of the open sockets, for aiohttp's runner."""

import socket
import ssl
from collections.abc import Sequence

from aiohttp import web

from server.listening.acceptor import Acceptor
from server.listening.listeners import Listeners


class Site(web.BaseSite):
    """Listening sockets of a runner, served by an Acceptor."""

    def __init__(
        self,
        runner: web.AppRunner,
        listeners: Sequence[socket.socket],
        limit: int,
        context: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(runner, ssl_context=context)
        assert runner.server is not None, "the runner is set up"
        self._acceptor = Acceptor(runner.server, listeners, limit, context)

    @property
    def name(self) -> str:
        """The first address, for aiohttp."""
        return str(self._acceptor.sockets[0].getsockname())

    async def start(self) -> None:
        """Begin to accept."""
        await super().start()
        # BaseSite.stop() closes it.
        self._server = self._acceptor  # type: ignore[assignment]
        self._acceptor.start()


async def start_sites(runner: web.AppRunner, listeners: Listeners, limit: int) -> list[str]:
    """Accept up to `limit` connections on the open sockets; returns their URLs."""
    for listener in listeners.all:
        await Site(runner, listener.sockets, limit, listener.tls).start()
    return [listener.url for listener in listeners.all]
