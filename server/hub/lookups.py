"""Lookups: searches and descriptions of repositories, by a child process that ends when idle."""

import asyncio
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

from server.hub.errors import NOT_INSTALLED, hub_error
from server.hub.messages import Describe, Described, Found, Probe, Reply, Request, Search
from server.hub.process import HubProcess, child_environment

_DEFAULT_ENDPOINT = "https://huggingface.co"
_IDLE_SECONDS = 60.0
# A hub that answers later is unreachable; the child's own limits are shorter.
_ANSWER_SECONDS = 60.0
_MAX_AT_ONCE = 8


class Hub:
    """How to reach the hub: the command of child processes, and their variables."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        token: str | None = None,
        offline: bool = False,
    ) -> None:
        self.command = tuple(command)
        self.is_offline = offline
        self._environment = environment
        self._token = token

    @property
    def endpoint(self) -> str:
        """The hub's address, which only the operator chooses; without a password."""
        address = urlsplit(self._environment.get("HF_ENDPOINT") or _DEFAULT_ENDPOINT)
        netloc = address.netloc.rpartition("@")[2]
        return f"{address.scheme}://{netloc}{address.path}".rstrip("/")

    def require(self) -> None:
        """Raise ApiError where the hub may not or cannot be asked."""
        if self.is_offline:
            raise hub_error(
                "offline",
                "this server is offline (--offline or HF_HUB_OFFLINE): it loads what is in the "
                "cache and downloads nothing",
            )
        # Does not import the package, which takes a second and much memory.
        if find_spec("huggingface_hub") is None:
            raise hub_error("hub_not_installed", NOT_INSTALLED)

    async def start(self, *, use_xet: bool = False) -> HubProcess:
        """A new child process. Raises ApiError."""
        self.require()
        environment = child_environment(self._environment, token=self._token, use_xet=use_xet)
        try:
            return await HubProcess.start(self.command, environment)
        except OSError as error:
            raise hub_error(
                "download_failed",
                f"the process that queries the hub cannot start: {error.strerror}",
            ) from None


class Lookups:
    """Sends requests to the hub by a child process, which the first one starts. Event loop only."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._child: HubProcess | None = None
        self._starting = asyncio.Lock()
        self._slots = asyncio.Semaphore(_MAX_AT_ONCE)
        self._n_asked = 0
        self._has_ended = False
        self._idle: asyncio.TimerHandle | None = None
        self._ending: set[asyncio.Task[None]] = set()

    @property
    def endpoint(self) -> str:
        """The hub's address."""
        return self._hub.endpoint

    async def search(self, text: str, limit: int) -> Found:
        """Repositories with GGUF files. Raises ApiError."""
        found: Found = await self._ask(Found, lambda number: Search(number, text, limit))
        return found

    async def describe(self, repo: str, revision: str) -> Described:
        """The files of a repository. Raises ApiError."""
        described: Described = await self._ask(
            Described, lambda number: Describe(number, repo, revision)
        )
        return described

    async def probe(self, repo: str, commit: str, file: str) -> None:
        """Raise ApiError if the file may not be read."""
        await self._ask(object, lambda number: Probe(number, repo, commit, file))

    async def close(self) -> None:
        """End the child; later requests raise ApiError."""
        self._has_ended = True
        if self._idle is not None:
            self._idle.cancel()
        if self._child is not None:
            await self._child.stop()
        if self._ending:
            await asyncio.wait(self._ending)

    async def _ask(self, expected: type[Any], make: Any) -> Any:
        self._hub.require()
        async with self._slots:
            if self._has_ended:
                raise hub_error("hub_unreachable", "the server is shutting down", retry_after=5)
            child = await self._get_child()
            self._n_asked += 1
            try:
                async with asyncio.timeout(_ANSWER_SECONDS):
                    return await self._answer(child, expected, make(child.next_id()))
            except TimeoutError:
                raise hub_error(
                    "hub_unreachable",
                    f"the hub has not answered for {_ANSWER_SECONDS:g} s; retry later",
                    retry_after=30,
                ) from None
            finally:
                self._n_asked -= 1
                self._end_later()

    @staticmethod
    async def _answer(child: HubProcess, expected: type[Any], request: Request) -> Any:
        last: Reply | None = None
        async for reply in child.ask(request):
            last = reply
        assert isinstance(last, expected), f"the child answered with {type(last).__name__}"
        return last

    async def _get_child(self) -> HubProcess:
        async with self._starting:
            if self._idle is not None:
                self._idle.cancel()
            if self._child is None or not self._child.is_running:
                if self._child is not None:
                    await self._child.stop()
                self._child = await self._hub.start()
            return self._child

    def _end_later(self) -> None:
        if self._n_asked == 0:
            loop = asyncio.get_running_loop()
            self._idle = loop.call_later(_IDLE_SECONDS, self._end)

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            task = asyncio.ensure_future(child.stop())
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)
