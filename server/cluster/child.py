"""ChildServer: the whole server as a child process on a Unix socket, for one replica."""

import asyncio
import json
import logging
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import aiohttp
from yarl import URL

from server.cluster.call import Call, Head, ServerLostError, StartError
from server.cluster.config import ClusterModel
from server.cluster.flags import OWN_VARIABLES

logger = logging.getLogger(__name__)

_STOP_SECONDS: Final = 15.0
_PROBE_SECONDS: Final = 10.0
_LOG_BYTES: Final = 1 << 16
_STDERR: Final = 2
# Of one connection only, or made anew by the next sender.
HOP_HEADERS: Final = frozenset(
    {
        *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer"),
        *("transfer-encoding", "upgrade", "content-length", "expect"),
    }
)
_KEY_HEADERS: Final = frozenset({"authorization", "x-api-key"})


class ChildServer:
    """Starts a server for `model`, and sends calls to it. The server ends with this process.

    The socket lies in a folder that only this user may enter, so the server needs no API key. Its
    admin key is random and known here only: no call may unload the model, as by `keep_alive`.
    Event loop only.
    """

    def __init__(self, model: ClusterModel, replica: str, flags: Sequence[str] = ()) -> None:
        self.replica = replica
        self._model = model
        self._flags = flags
        self._folder = Path(tempfile.mkdtemp(prefix="llamabind-", dir="/tmp"))
        self._admin_key = secrets.token_hex(16)
        self._process: asyncio.subprocess.Process | None = None
        self._log: asyncio.Task[None] | None = None
        self._last_line = ""
        connector = aiohttp.UnixConnector(str(self._folder / "s.sock"), limit=0)
        self._session = aiohttp.ClientSession(
            connector=connector,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(),
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            read_bufsize=1 << 16,
            max_line_size=1 << 15,
            max_field_size=1 << 15,
        )

    @property
    def pid(self) -> int:
        """The id of the server's process; 0 before its start."""
        return self._process.pid if self._process is not None else 0

    async def start(self) -> None:
        """Start the server and load its model. Raises StartError that says why it failed."""
        key_file = self._folder / "admin-key"
        key_file.touch(mode=0o600)
        key_file.write_text(self._admin_key)
        self._process = await asyncio.create_subprocess_exec(
            *self._command(key_file),
            stdin=asyncio.subprocess.PIPE,  # closed when this process ends: the server ends, too
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={name: value for name, value in os.environ.items() if name not in OWN_VARIABLES}
            | self._model.env
            | {"LLAMABIND_REPLICA": self.replica},  # tells the processes of a machine apart
            start_new_session=True,
        )
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._log = asyncio.create_task(self._copy_log(self._process.stderr))
        if not await self._process.stdout.readline():
            status = await self._process.wait()
            await self._log
            raise StartError(
                f"the server of model {self._model.name!r} ended at its start with status "
                f"{status}: {self._last_line or 'its log is empty'}"
            )
        await self._load()

    async def _copy_log(self, log: asyncio.StreamReader) -> None:
        """Write the server's log to this process's, and keep its last line."""
        while block := await log.read(_LOG_BYTES):
            with suppress(OSError):
                os.write(_STDERR, block)
            lines = block.decode(errors="replace").strip().splitlines()
            self._last_line = lines[-1] if lines else self._last_line

    async def _load(self) -> None:
        """Wait until the model is loaded: until then the replica gets no requests."""
        path = f"/api/v2/models/{quote(self._model.name, safe='')}/load"
        status, document = await self._json("POST", path)
        if status != 200:
            error = document.get("error", {}) if isinstance(document, dict) else {}
            raise StartError(
                f"model {self._model.name!r} cannot be loaded: {error.get('message', document)}"
            )

    async def wait(self) -> int:
        """Wait for the end of the server's process; its exit status."""
        assert self._process is not None
        return await self._process.wait()

    async def check(self) -> None:
        """Raise RuntimeError if the server has ended or does not answer."""
        if self._process is None or self._process.returncode is not None:
            status = self._process.returncode if self._process is not None else None
            raise RuntimeError(f"the server of {self.replica} ended with status {status}")
        async with asyncio.timeout(_PROBE_SECONDS):
            async with self._session.get(_url("/live")) as response:
                if response.status != 200:
                    raise RuntimeError(f"GET /live of {self.replica}: status {response.status}")

    async def metrics(self) -> str:
        """GET /metrics."""
        async with asyncio.timeout(_PROBE_SECONDS):
            async with self._session.get(_url("/metrics")) as response:
                return await response.text()

    async def relay(self, call: Call) -> AsyncGenerator[Head | bytes, None]:
        """Send `call`; yields the head of the answer, then its body as it arrives.

        Closing the iterator closes the connection, at which the server cancels the request. Raises
        ServerLostError.
        """
        try:
            async with self._session.request(
                call.method,
                _url(call.target),
                headers=self._headers(call),
                data=call.body or None,
                allow_redirects=False,
            ) as response:
                yield Head(
                    response.status,
                    tuple(
                        (name, value)
                        for name, value in response.headers.items()
                        if name.lower() not in HOP_HEADERS
                    ),
                    self.replica,
                )
                async for chunk in response.content.iter_any():
                    yield chunk
        except (aiohttp.ClientError, ConnectionError) as error:
            raise ServerLostError(
                f"the server of {self.replica} closed the connection ({type(error).__name__})"
            ) from None

    async def stop(self) -> None:
        """End the server; after 15 s by SIGKILL."""
        await self._session.close()
        if self._process is not None and self._process.returncode is None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            try:
                async with asyncio.timeout(_STOP_SECONDS):
                    await self._process.wait()
            except TimeoutError:
                with suppress(ProcessLookupError):
                    self._process.kill()
                await self._process.wait()
        if self._log is not None:
            self._log.cancel()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _command(self, key_file: Path) -> list[str]:
        model = self._model
        source = ["--model", model.model] if model.is_file else ["-hf", model.model]
        command = [
            *(sys.executable, "-P", "-m", "server.command.client.attached"),
            *("--host", str(self._folder / "s.sock"), *source),
            *("--alias", ",".join((model.name, *model.aliases))),
            *("--threads", str(max(1, round(model.reserved_cpus)))),
            *("--parallel", str(model.n_parallel), "--max-queue", str(model.max_queue)),
            *("--admin-key-file", str(key_file), "--insecure-no-auth", "--no-ui"),
            "--proxied-clients",
        ]
        if model.n_ctx is not None:
            command += ["--ctx-size", str(model.n_ctx)]
        if model.rpc:
            command += ["--rpc", ",".join(model.rpc)]
        return [*command, *self._flags, *model.flags]

    def _headers(self, call: Call) -> list[tuple[str, str]]:
        dropped = HOP_HEADERS | _KEY_HEADERS
        return [(name, value) for name, value in call.headers if name.lower() not in dropped]

    async def _json(self, method: str, path: str) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {self._admin_key}"}
        async with self._session.request(method, _url(path), headers=headers) as response:
            raw = await response.read()
        try:
            return response.status, json.loads(raw)
        except ValueError:
            return response.status, raw[:200].decode(errors="replace")


def _url(target: str) -> URL:
    return URL(f"http://llamabind{target}", encoded=True)
