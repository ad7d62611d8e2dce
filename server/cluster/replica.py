"""Replica: the class of each model's deployment. Ray Serve makes one object for each replica."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from ray import serve

from server.cluster.call import Call, Head
from server.cluster.child import ChildServer
from server.cluster.config import ClusterModel


class Replica:
    """A server with one model, as a child process.

    Made when the model is loaded. `generation` tells Ray Serve that replicas of an earlier one are
    to be replaced. Raises RuntimeError that says why the model could not be loaded.
    """

    async def __init__(  # type: ignore[misc] # Ray Serve awaits it
        self,
        model: ClusterModel,
        flags: Sequence[str],
        generation: str,  # noqa: ARG002
    ) -> None:
        name = f"{model.name}-{serve.get_replica_context().replica_id.unique_id}"
        self._server = ChildServer(model, name, flags)
        try:
            await self._server.start()
        except BaseException:
            await self._server.stop()
            raise

    async def relay(self, call: Call) -> AsyncGenerator[Head | bytes, None]:
        """The answer to `call`: its head, then its body. Raises ServerLostError."""
        async with aclosing(self._server.relay(call)) as items:
            async for item in items:
                yield item

    async def metrics(self) -> tuple[str, str]:
        """The replica's name, and its server's metrics."""
        return self._server.replica, await self._server.metrics()

    async def check_health(self) -> None:
        """Called by Ray Serve, which replaces a replica that raises."""
        await self._server.check()

    async def __del__(self) -> None:
        # Called by Ray Serve when a replica has answered its last request.
        if hasattr(self, "_server"):
            await self._server.stop()
