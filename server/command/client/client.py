"""Client: requests to one server. Blocking; http.client imports in a tenth of aiohttp's time."""

import http.client
import json
import socket
from collections.abc import Generator, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

from server.command.client.address import Address
from server.command.client.errors import (
    CommandError,
    DisconnectedError,
    NoServerError,
    RefusedError,
)

if TYPE_CHECKING:
    import ssl

_EVENTS: Final = "text/event-stream"
_CONNECT_SECONDS: Final = 10.0
_MAX_EVENT_BYTES: Final = 64 << 20
_MAX_ERROR_BYTES: Final = 1 << 20


class Client:
    """Sends requests to the server at `address`. May be used by several threads.

    Every method raises NoServerError, RefusedError and DisconnectedError.
    """

    def __init__(self, address: Address, key: str | None = None) -> None:
        self.address = address
        self._key = key
        self._tls: ssl.SSLContext | None = None

    def get(self, path: str) -> Any:
        """The JSON of a GET."""
        return self.request("GET", path)

    def post(self, path: str, body: Any = None) -> Any:
        """The JSON of a POST with a JSON body."""
        return self.request("POST", path, body)

    def delete(self, path: str) -> Any:
        """The JSON of a DELETE; None for an answer without a body."""
        return self.request("DELETE", path)

    def request(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON of the answer; None if it is empty."""
        with closing(self._open(method, path, body, "application/json")) as exchange:
            raw = exchange.read()
        if not raw:
            return None
        try:
            return json.loads(raw)
        except ValueError:
            raise CommandError(self._foreign()) from None

    def stream(self, method: str, path: str, body: Any = None) -> Generator[Any, None, None]:
        """The documents of an output stream of server-sent events, as they arrive.

        The request is sent at the first `next()`. Closing the iterator closes the connection, at
        which the server cancels the request. An `error` inside the stream raises RefusedError. A
        connection that is lost may look like the end: the last document tells whether it was.
        """
        with closing(self._open(method, path, body, _EVENTS)) as exchange:
            if exchange.content_type != _EVENTS:
                # An answer that was complete before the stream began.
                yield json.loads(exchange.read() or b"null")
                return
            for data in exchange.events():
                if data == b"[DONE]":
                    return
                document = json.loads(data)
                if isinstance(document, dict) and document.keys() == {"error"}:
                    raise RefusedError(document["error"]["message"], 0, document["error"])
                yield document

    def is_running(self) -> bool:
        """Whether a server listens at the address."""
        try:
            self.request("GET", "/live")
        except NoServerError:
            return False
        return True

    def _open(self, method: str, path: str, body: Any, accept: str) -> "_Exchange":
        # Some endpoints choose the form of their answer by this header.
        headers = {"Accept": accept, "Connection": "close"}
        headers["User-Agent"] = "llamabind-command"
        if self._key is not None:
            headers["Authorization"] = f"Bearer {self._key}"
        content = None
        if body is not None:
            content = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        connection = self._connect()
        exchange = _Exchange(connection)
        try:
            exchange.send(method, f"{self.address.prefix}{path}", content, headers)
            refusal = self._refusal(exchange) if exchange.status >= 400 else None
        except BaseException:
            exchange.close()
            raise
        if refusal is not None:
            exchange.close()
            raise refusal
        return exchange

    def _connect(self) -> http.client.HTTPConnection:
        address = self.address
        if address.socket is not None:
            connection: http.client.HTTPConnection = _UnixConnection(address.socket)
        elif address.scheme == "https":
            connection = http.client.HTTPSConnection(
                address.host, address.port, timeout=_CONNECT_SECONDS, context=self._tls_context()
            )
        else:
            connection = http.client.HTTPConnection(
                address.host, address.port, timeout=_CONNECT_SECONDS
            )
        try:
            connection.connect()
        except OSError as error:
            raise _no_connection(address, error) from None
        # No time limit: loads and prompts may take minutes without any output.
        connection.sock.settimeout(None)
        if address.socket is None:
            connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return connection

    def _tls_context(self) -> "ssl.SSLContext":
        import ssl

        self._tls = self._tls or ssl.create_default_context()
        return self._tls

    def _refusal(self, exchange: "_Exchange") -> CommandError:
        """The error that the server answered with, completed by what to do at the terminal."""
        try:
            found = json.loads(exchange.read(_MAX_ERROR_BYTES))["error"]
        except (ValueError, KeyError, TypeError):
            return CommandError(f"{self._foreign()} (HTTP status {exchange.status})")
        error = found if isinstance(found, dict) else {"message": str(found)}
        message = str(error.get("message", f"HTTP status {exchange.status}"))
        if exchange.status == 401:
            was_given = self._key is not None
            message = (
                f"the server at {self.address} does not know this API key"
                if was_given
                else f"the server at {self.address} needs an API key"
            ) + ": set LLAMABIND_API_KEY, or give --api-key-file FILE"
        elif error.get("code") == "model_not_found":
            message = message.partition(";")[0] + "; `llamabind ls` lists all models"
        elif error.get("code") == "admin_key_required":
            message += "; give an admin key with LLAMABIND_API_KEY or --api-key-file FILE"
        return RefusedError(message, exchange.status, error)

    def _foreign(self) -> str:
        return (
            f"the server at {self.address} is not a llamabind server; give the address of one with "
            "--url or LLAMABIND_URL"
        )


class _Exchange:
    """One request and its answer."""

    def __init__(self, connection: http.client.HTTPConnection) -> None:
        self._connection = connection
        self._response: http.client.HTTPResponse | None = None

    @property
    def status(self) -> int:
        return self._answer.status

    @property
    def content_type(self) -> str:
        return self._answer.headers.get_content_type()

    def send(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> None:
        try:
            self._connection.request(method, path, body=body, headers=headers)
            self._response = self._connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise _lost(error) from None

    def read(self, limit: int | None = None) -> bytes:
        try:
            return self._answer.read(limit)
        except (OSError, http.client.HTTPException) as error:
            raise _lost(error) from None

    def events(self) -> Iterator[bytes]:
        """The data of each event; comments, which keep the connection open, are skipped."""
        while True:
            try:
                line = self._answer.readline(_MAX_EVENT_BYTES)
            except (OSError, http.client.HTTPException) as error:
                raise _lost(error) from None
            if not line:
                return
            if line.startswith(b"data:"):
                yield line.removeprefix(b"data:").strip()

    def close(self) -> None:
        if self._response is not None:
            self._response.close()
        self._connection.close()

    @property
    def _answer(self) -> http.client.HTTPResponse:
        assert self._response is not None, "the request was sent"
        return self._response


def _lost(error: Exception) -> DisconnectedError:
    return DisconnectedError((error.strerror or "") if isinstance(error, OSError) else "")


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_CONNECT_SECONDS)
        self._path = path

    def connect(self) -> None:
        from pathlib import Path

        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(_CONNECT_SECONDS)
        try:
            self.sock.connect(str(Path(self._path).expanduser()))
        except OSError:
            self.sock.close()
            raise


def _no_connection(address: Address, error: OSError) -> CommandError:
    """Why no connection was made, and what to do."""
    reason = error.strerror or str(error)
    if type(error).__name__ == "SSLCertVerificationError":
        return CommandError(
            f"the certificate of {address} is not trusted: {reason}; set SSL_CERT_FILE to the file "
            "of the certificate, or give the name that it is for"
        )
    if isinstance(error, ConnectionRefusedError | FileNotFoundError):
        reason = "no server runs there"
    elif isinstance(error, TimeoutError):
        reason = f"no answer within {_CONNECT_SECONDS:g} s"
    return NoServerError(
        f"cannot reach a server at {address}: {reason}; start one with `llamabind serve`, or give "
        "the address of a running one with --url or LLAMABIND_URL"
    )
