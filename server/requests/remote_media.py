"""MediaFetcher: fetches images and audio that a request names by http(s) URLs.

Clients choose the URLs, so the server must not be led to its own machine or network: each name is
resolved once, only public addresses are connected to, and a redirect is checked like a new URL.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Callable, Collection, Container, Iterable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from llamabind.errors import InvalidParameterError
from server.errors import InvalidRequestError
from server.protocol.job import ChatPrompt, Job, instead_of_file
from server.requests.local_media import LocalMedia, is_file_url
from server.requests.media_parts import media_of, part_of_bytes

MAX_BYTES = 10 << 20
# Limits for one request: number of files, their bytes together, seconds for all of them.
MAX_FILES = 32
MAX_TOTAL_BYTES = 32 << 20
_SECONDS = 10.0
_MAX_REDIRECTS = 3
_MAX_FETCHES = 16
_CHUNK = 1 << 16
ANY_HOST = "*"

# All IPv6 addresses that are assigned to hosts of the internet. Others embed IPv4 addresses in
# various forms (::/96, ::ffff:0:0:0/96, 64:ff9b::/96), which may lead to private networks.
_UNICAST = ipaddress.ip_network("2000::/3")
# Parts of it that are not public: 6to4 and Teredo, which embed IPv4 addresses, and documentation.
_NOT_PUBLIC = tuple(
    ipaddress.ip_network(network) for network in ("2002::/16", "2001::/32", "3fff::/20")
)


def is_public(address: str) -> bool:
    """Whether an IP address is public: not of this machine, a private network or multicast."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return is_public(str(ip.ipv4_mapped))
        if ip not in _UNICAST or any(ip in network for network in _NOT_PUBLIC):
            return False
    return ip.is_global and not ip.is_multicast


class _NotPublicError(OSError):
    """A name resolves to an address that the server does not connect to."""


class _PublicResolver(AbstractResolver):
    """Resolves names to public addresses; aiohttp connects to exactly these."""

    def __init__(self, may_connect: Callable[[str], bool]) -> None:
        self._inner = ThreadedResolver()
        self._may_connect = may_connect

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of `host`. Raises OSError if any of them is not public."""
        found = await self._inner.resolve(host, port, family)
        if not all(self._may_connect(result["host"]) for result in found):
            raise _NotPublicError("not a public address")
        return found

    async def close(self) -> None:
        """Close the inner resolver."""
        await self._inner.close()


class _FetchLimits:
    """What remains for one request: bytes, and time until `deadline` on the loop's clock."""

    def __init__(self) -> None:
        self.deadline = asyncio.get_running_loop().time() + _SECONDS
        self._n_left = MAX_TOTAL_BYTES

    def take(self, n_bytes: int, param: str) -> None:
        """Count bytes read. Raises InvalidRequestError if the files together exceed the limit."""
        self._n_left -= n_bytes
        if self._n_left < 0:
            limit = MAX_TOTAL_BYTES >> 20
            raise _failed(param, f"all files together are larger than {limit} MB")


class MediaFetcher:
    """Completes jobs whose content parts have a `url`. Event loop only.

    It fetches from `hosts` only; "*" allows any host, none disables fetching. `may_connect` says
    whether an IP address may be connected to; tests replace it. file: URLs name files in `folder`.
    """

    def __init__(
        self,
        hosts: Collection[str],
        may_connect: Callable[[str], bool] = is_public,
        *,
        folder: Path | None = None,
    ) -> None:
        self._local = LocalMedia(folder)
        self._hosts = frozenset(host.lower() for host in hosts)
        self._may_connect = may_connect
        self._session: aiohttp.ClientSession | None = None
        self._opening = asyncio.Lock()

    async def complete(self, job: Job) -> Job:
        """The job with the contents of its files. Raises InvalidRequestError naming the part.

        In a tool's result a file that cannot be fetched is replaced by a text, with a warning.
        """
        prompt = job.prompt
        if not isinstance(prompt, ChatPrompt):
            return job
        wanted = [part for part in media_of(prompt.messages) if "url" in part]
        if not wanted:
            return job
        if len(wanted) > MAX_FILES:
            raise _failed(
                wanted[MAX_FILES]["param"],
                f"the request names {len(wanted)} files, limit {MAX_FILES}",
            )
        in_results = {id(part) for part in _parts_of_results(prompt.messages)}
        warnings: list[str] = []
        fetched = iter(await self._fetch_all(wanted, in_results, warnings))
        messages = [
            {**message, "content": [_completed(part, fetched) for part in message["content"]]}
            if _has_url(message)
            else message
            for message in prompt.messages
        ]
        prompt = msgspec.structs.replace(
            prompt, messages=messages, warnings=(*prompt.warnings, *warnings)
        )
        return msgspec.structs.replace(job, prompt=prompt)

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()

    async def _fetch_all(
        self, wanted: list[dict[str, Any]], in_results: Container[int], warnings: list[str]
    ) -> list[dict[str, Any]]:
        """The parts with their files, fetched concurrently; a failure cancels the others, but
        only adds a warning if the part's id is `in_results`.
        """
        limits = _FetchLimits()

        async def complete(part: dict[str, Any]) -> dict[str, Any]:
            if id(part) not in in_results:
                return await self._complete_part(part, limits)
            try:
                return await self._complete_part(part, limits)
            except InvalidRequestError as error:
                reason = error.message.removeprefix(f"field '{error.param}': ")
            except InvalidParameterError as error:
                reason = error.message
            warnings.append(f"{part['param']} is left out: {reason}")
            return instead_of_file(reason)

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(complete(part)) for part in wanted]
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        return [task.result() for task in tasks]

    async def _complete_part(self, part: dict[str, Any], limits: _FetchLimits) -> dict[str, Any]:
        param = part["param"]
        try:
            async with asyncio.timeout_at(limits.deadline):
                data = await self._fetch(part["url"], param, limits)
        except TimeoutError:
            raise _failed(param, f"timed out after {_SECONDS:g} s") from None
        except _NotPublicError:
            raise _failed(param, "its address is not public") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            if isinstance(error.__cause__, _NotPublicError):
                raise _failed(param, "its address is not public") from None
            # The error's own text may contain details of the server's network.
            raise _failed(param, f"the connection failed ({type(error).__name__})") from None
        return part_of_bytes(data, param, part["kind"])

    async def _fetch(self, address: str, param: str, limits: _FetchLimits) -> bytes:
        if is_file_url(address):
            data = await asyncio.to_thread(self._local.read, address, param, MAX_BYTES)
            limits.take(len(data), param)
            return data
        url = URL(address)
        for _ in range(_MAX_REDIRECTS + 1):
            self._check(url, param)
            # Do not send a user name and password that are part of the URL.
            bare = url.with_user(None)
            session = await self._open()
            async with session.get(bare, allow_redirects=False) as response:
                if response.status in (301, 302, 303, 307, 308):
                    url = url.join(URL(response.headers.get("Location", "")))
                    continue
                if response.status != 200:
                    raise _failed(param, f"its server returned status {response.status}")
                return await _read(response, param, limits)
        raise _failed(param, f"more than {_MAX_REDIRECTS} redirects")

    def _check(self, url: URL, param: str) -> None:
        if not self._hosts:
            raise _failed(
                param, "fetching is disabled on this server (--media-hosts); send a data: URL"
            )
        if url.scheme not in ("http", "https") or not url.host:
            raise _failed(param, "only http and https URLs are fetched")
        if ANY_HOST not in self._hosts and url.host.lower() not in self._hosts:
            raise _failed(param, f"host {url.host} is not allowed (--media-hosts)")
        # The resolver is not called for addresses, and "127.1" or "2130706433" would be one too.
        is_address = ":" in url.host or url.host.replace(".", "").isdigit()
        if is_address and not self._may_connect(url.host):
            raise _NotPublicError("not a public address")

    async def _open(self) -> aiohttp.ClientSession:
        async with self._opening:
            if self._session is None:
                # aiohttp's own context has no certificates (server.quick_aiohttp). On a thread,
                # because the system's certificates are read from disk.
                tls = await asyncio.to_thread(ssl.create_default_context)
                self._session = self._make_session(tls)
            return self._session

    def _make_session(self, tls: ssl.SSLContext) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=_MAX_FETCHES,
                resolver=_PublicResolver(self._may_connect),
                use_dns_cache=False,
                force_close=True,
                ssl=tls,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            # Accept no compression: a small response could unpack to a huge one.
            headers={"Accept-Encoding": "identity"},
            auto_decompress=False,
            trust_env=False,
        )


def _parts_of_results(messages: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for message in messages:
        content = message.get("content")
        if message["role"] == "tool" and isinstance(content, list):
            yield from content


def _has_url(message: dict[str, Any]) -> bool:
    content = message.get("content")
    return isinstance(content, list) and any("url" in part for part in content)


def _completed(part: dict[str, Any], fetched: Iterator[dict[str, Any]]) -> dict[str, Any]:
    return next(fetched) if "url" in part else part


async def _read(response: aiohttp.ClientResponse, param: str, limits: _FetchLimits) -> bytes:
    data = bytearray()
    async for chunk in response.content.iter_chunked(_CHUNK):
        limits.take(len(chunk), param)
        data += chunk
        if len(data) > MAX_BYTES:
            raise _failed(param, f"it is larger than {MAX_BYTES >> 20} MB")
    return bytes(data)


def _failed(param: str, reason: str) -> InvalidRequestError:
    return InvalidRequestError(f"field '{param}': cannot be fetched: {reason}", param=param)
