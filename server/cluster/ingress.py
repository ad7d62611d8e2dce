"""Ingress: the deployment in front of all models. It takes every HTTP request of the cluster."""

import asyncio
import logging
import uuid
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from typing import Any, Final

import msgspec
from ray import serve
from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import (
    BackPressureError,
    DeploymentUnavailableError,
    ReplicaUnavailableError,
)
from ray.serve.handle import DeploymentHandle

from server.cluster.call import Call, Head, ServerLostError
from server.cluster.config import ClusterConfig
from server.cluster.front.access import Access
from server.cluster.front.answer import Answer
from server.cluster.front.failures import (
    ClusterFullError,
    not_deployed,
    of_one_server,
    replica_lost,
)
from server.cluster.front.labels import merge_metrics
from server.cluster.front.lists import union
from server.cluster.front.names import Names
from server.cluster.front.paths import LISTS, PROBES, is_of_one_server
from server.cluster.front.prompts import routing_prompt, session_of
from server.cluster.front.request import HttpRequest, Receive, Scope, Send
from server.errors import ApiError

logger = logging.getLogger("ray.serve")

# A list or a probe waits this long for a model's replica; one that starts does not answer.
_LIST_SECONDS: Final = 5.0
# Between two tries of a request whose replica ended before it answered; the next one may choose the
# same replica until Ray knows that it is gone.
_PAUSES: Final = (0.2, 1.0, 0.0)
_LOST: Final = (RayActorError, ReplicaUnavailableError, ServerLostError)


class Ingress:
    """Checks keys, finds the model, and relays the request to one of the model's replicas.

    A client that disconnects cancels its request in the engine.
    """

    def __init__(
        self, config: ClusterConfig, access: Access, handles: Sequence[DeploymentHandle[Any]]
    ) -> None:
        """`handles` are the deployments of `config.models`, in their order."""
        # The name of this process's actor, by which the replicas see that it has ended.
        self._name = serve.get_replica_context().replica_id.to_full_id_str()
        self._config = config
        self._access = access
        self._names = Names(config.models)
        self._handles = {
            model.name: handle.options(method_name="relay", stream=True)
            for model, handle in zip(config.models, handles, strict=True)
        }
        self._all = dict(zip(self._handles, handles, strict=True))
        self._routers = {model.name: config.router_of(model) for model in config.models}

    def __serve_build_asgi_app__(self) -> Any:
        """Ray Serve calls this for the ASGI application."""

        # uvicorn takes a function for an ASGI 3 application, but not a method.
        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "lifespan":
                await _live(receive, send)
            elif scope["type"] == "http":
                await self.respond(scope, receive, send)
            else:  # a WebSocket, which no path has
                await send({"type": "websocket.close"})

        return application

    async def respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        request = HttpRequest.of(scope)
        answer = Answer(request, send)
        work = asyncio.ensure_future(self._answer(request, answer, receive))
        try:
            await work
        except ApiError as error:
            await answer.fail(error)
        except Exception:
            logger.exception("%s %s failed", request.method, request.path)
            await answer.fail(ApiError("internal error, see the log of the cluster's ingress"))
        finally:
            work.cancel()

    async def _answer(self, request: HttpRequest, answer: Answer, receive: Receive) -> None:
        caller = self._access.check(request)
        if request.path == "/live":
            await answer.send_json({"status": "ok"})
            return
        if is_of_one_server(request.method, request.path):
            raise of_one_server(request.method, request.path)
        await request.read(receive, self._config.max_body_mb << 20)
        if request.path == "/metrics":
            await answer.send_text(await self._metrics())
        elif request.path in PROBES:
            await self._probe(answer)
        elif request.path in LISTS and request.method in ("GET", "HEAD"):
            await self._list(request, answer)
        else:
            call = self._call(request, caller)
            watch = asyncio.ensure_future(_disconnected(receive))
            relay = asyncio.ensure_future(self._relay(request, answer, call))
            try:
                await asyncio.wait((watch, relay), return_when=asyncio.FIRST_COMPLETED)
                if relay.done():
                    await relay
            finally:
                watch.cancel()
                relay.cancel()
                await asyncio.gather(relay, return_exceptions=True)

    async def _relay(self, request: HttpRequest, answer: Answer, call: Call) -> None:
        """Answer with one of the model's replicas; with another one if it ends too early."""
        model = self._names.of(request)
        for pause in _PAUSES:
            try:
                await self._relay_once(model, request, answer, call)
            except ServerLostError as error:
                logger.warning("model %s: %s", model, error)
                if answer.has_begun:
                    break
                await asyncio.sleep(pause)
            else:
                return
        raise replica_lost(model)

    async def _relay_once(
        self, model: str, request: HttpRequest, answer: Answer, call: Call
    ) -> None:
        items = self._items(model, request, call)
        try:
            head = await anext(items)
            assert isinstance(head, Head)
            await answer.relay(head, items)
        finally:
            await items.aclose()

    async def _items(
        self, model: str, request: HttpRequest, call: Call
    ) -> AsyncGenerator[Head | bytes, None]:
        """The items of Replica.relay. Raises ServerLostError if the replica ends."""
        handle = self._handles[model]
        if self._routers[model] == "session":
            handle = handle.options(session_id=session_of(request.headers, request.document))
        # The prefix router reads positional arguments only, and fails without a prompt.
        has_prompt = self._routers[model] == "prefix" and call.prompt
        items = handle.remote(call) if has_prompt else handle.remote(call=call)
        try:
            async for item in items:
                yield item
        except BackPressureError:
            raise ClusterFullError(model) from None
        except DeploymentUnavailableError:
            raise not_deployed(model) from None
        except _LOST as error:
            raise ServerLostError(str(error)) from None
        except RayTaskError as error:
            if isinstance(error.cause, ServerLostError):
                raise ServerLostError(str(error.cause)) from None
            raise
        finally:
            # After the last item this does nothing.
            items.cancel()

    async def _list(self, request: HttpRequest, answer: Answer) -> None:
        keys = LISTS[request.path]
        call = replace(self._call(request, "list"), method="GET")
        found = await asyncio.gather(*(self._document(name, request, call) for name in self._all))
        answered = [one for one in found if one is not None]
        silent = [name for name, one in zip(self._all, found, strict=True) if one is None]
        # What lets a web page read the answer is the same for all.
        headers = (
            [pair for pair in answered[0][0].headers if _is_for_pages(pair[0])] if answered else []
        )
        if silent:
            text = f"no replica of {', '.join(silent)} answers yet; the list is without it"
            headers.append(("X-Llamabind-Warnings", text))
        if not answered:
            raise not_deployed(silent[0])
        await answer.send_json(union((one[1] for one in answered), keys), headers=headers)

    async def _document(
        self, model: str, request: HttpRequest, call: Call
    ) -> tuple[Head, dict[str, Any]] | None:
        """The answer of one of the model's replicas; None if none answers in time."""
        items = self._items(model, request, call)
        try:
            async with asyncio.timeout(_LIST_SECONDS):
                head = await anext(items)
                parts = [item async for item in items if isinstance(item, bytes)]
        except (TimeoutError, ServerLostError, ApiError):
            return None
        finally:
            await items.aclose()
        assert isinstance(head, Head)
        document = msgspec.json.decode(b"".join(parts))
        return (head, document) if head.status == 200 else None

    async def _probe(self, answer: Answer) -> None:
        probe = HttpRequest("GET", "/ready", "/ready", (), {}, "probe")
        call = self._call(probe, "probe")
        found = await asyncio.gather(*(self._document(name, probe, call) for name in self._all))
        for name, document in zip(self._all, found, strict=True):
            if document is None:
                raise not_deployed(name)
        await answer.send_json({"status": "ok"})

    async def _metrics(self) -> str:
        """The metrics of all replicas."""
        found = await asyncio.gather(*(_broadcast(handle) for handle in self._all.values()))
        return merge_metrics(pair for pairs in found for pair in pairs)

    def _call(self, request: HttpRequest, client: str) -> Call:
        """The call of a request; `client` names the client in the replica's fair queue."""
        headers = [
            pair for pair in request.pairs if pair[0].lower() not in ("x-client", "x-request-id")
        ]
        request_id = request.headers.get("x-request-id", uuid.uuid4().hex)
        headers += [("X-Client", client.replace(":", ".")), ("X-Request-Id", request_id)]
        return Call(
            method=request.method,
            target=request.target,
            headers=tuple(headers),
            body=request.body,
            caller=self._name,
            prompt=routing_prompt(request.document),
        )


async def _broadcast(handle: DeploymentHandle[Any]) -> list[tuple[str, str]]:
    """The metrics of the replicas that answer."""
    results = await handle.broadcast("metrics").results_async(
        timeout_s=_LIST_SECONDS, return_exceptions=True
    )
    return [result for result in results if isinstance(result, tuple)]


def _is_for_pages(header: str) -> bool:
    return header.lower() == "vary" or header.lower().startswith("access-control-")


async def _live(receive: Receive, send: Send) -> None:
    """ASGI's messages at the start and the end of the application."""
    while True:
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return


async def _disconnected(receive: Receive) -> None:
    """Return when the client disconnects."""
    while (await receive())["type"] != "http.disconnect":
        pass
