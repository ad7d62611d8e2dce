"""Replica: the class of each model's deployment. Ray Serve makes one object for each replica."""

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Final

import ray
from ray import serve
from ray.exceptions import RayError

from server.cluster.call import Call, Head
from server.cluster.callers import Callers
from server.cluster.child import ChildServer
from server.cluster.config import ClusterModel

logger = logging.getLogger("ray.serve")

# For the requests that the server was answering to learn of its end.
_REPORT_SECONDS: Final = 0.5
_NAMESPACE: Final = "serve"  # of the actors of Ray Serve


class Replica:
    """A server with one model, as a child process.

    Made when the model is loaded. `generation` tells Ray Serve that replicas of an earlier one are
    to be replaced. Raises StartError that says why the model could not be loaded.
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
        self._callers = Callers(_is_alive)
        self._watching = (
            asyncio.create_task(self._end_with_server()),
            asyncio.create_task(self._callers.watch()),
        )

    async def relay(self, call: Call) -> AsyncGenerator[Head | bytes, None]:
        """The answer to `call`: its head, then its body. Raises ServerLostError."""
        with self._callers.relaying(call.caller):
            async with aclosing(self._server.relay(call)) as items:
                async for item in items:
                    yield item

    async def metrics(self) -> tuple[str, str]:
        """The replica's name, and its server's metrics."""
        return self._server.replica, await self._server.metrics()

    async def check_health(self) -> None:
        """Called by Ray Serve, which replaces a replica that raises."""
        await self._server.check()

    async def _end_with_server(self) -> None:
        """End this process soon after the server: Ray then routes no more requests to it.

        By failing health checks that would take 15 s.
        """
        status = await self._server.wait()
        logger.error("the server of %s ended with status %d", self._server.replica, status)
        await asyncio.sleep(_REPORT_SECONDS)
        os._exit(1)

    async def __del__(self) -> None:
        # Called by Ray Serve when a replica has answered its last request.
        if hasattr(self, "_watching"):
            for task in self._watching:
                task.cancel()
            await self._server.stop()


def _is_alive(actor: str) -> bool:
    """Whether an actor of Ray Serve runs. True if Ray cannot say."""
    try:
        ray.get_actor(actor, namespace=_NAMESPACE)
    except ValueError:
        return False
    except RayError:
        return True
    return True
