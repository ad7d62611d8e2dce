"""The attacks by name. Each runs until `over`, sends what it can, and tolerates any answer."""

import contextlib
import http.client
import itertools
import json
import resource
import socket
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache, partial
from multiprocessing.synchronize import Event
from typing import Any, TypeAlias

from attacks.target import LOOP, MODEL, NATIVE, OTHER, SETTINGS, Client, chat

Attack: TypeAlias = Callable[[Client, Event], None]

_CHAT = "/v1/chat/completions"
_HOSTILE = [f"127.0.1.{number}" for number in range(1, 41)]
_TEXT = "Tell me a story"


@cache
def _bomb(n_gigabytes: int) -> bytes:
    compressor = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    pieces = [
        compressor.compress(b" " * (1 << 20)) + compressor.flush(zlib.Z_FULL_FLUSH)
        for _ in range(2)
    ]
    return pieces[0] + pieces[1] * (1024 * n_gigabytes - 1)


def _together(tasks: list[Callable[[], object]]) -> None:
    threads = [threading.Thread(target=_tolerant, args=(task,)) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _tolerant(task: Callable[[], object]) -> None:
    with contextlib.suppress(OSError, http.client.HTTPException):
        task()


def _allow_descriptors() -> None:
    """Raise this process's limit of descriptors, for attacks by many connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4096)), hard))


def _rounds(over: Event) -> Iterator[int]:
    return itertools.takewhile(lambda _: not over.wait(0.05), itertools.count())


def bodies(client: Client, over: Event) -> None:
    """Four bodies at once of 1 MB that unpack to 1 GB."""

    def send() -> None:
        client.request("POST", _CHAT, _bomb(1), _HOSTILE[0], **{"Content-Encoding": "gzip"})

    for _ in _rounds(over):
        _together([send] * 4)


def connections(client: Client, over: Event) -> None:
    """1,100 idle connections, more than the usual limit of descriptors."""
    _allow_descriptors()
    with ExitStack() as stack:
        for number in range(1100):
            if over.is_set():
                return
            with contextlib.suppress(OSError):
                address = ("127.0.0.1", client.port)
                source = (_HOSTILE[number % 8], 0)
                stack.enter_context(socket.create_connection(address, 10, source))
        over.wait()


def log(client: Client, over: Event) -> None:
    """Refused requests, each with a line of a log that nobody reads."""

    def flood() -> None:
        with contextlib.closing(client.connect(_HOSTILE[1])) as connection:
            for number in range(500):
                connection.request("GET", f"/missing/{number}/{'x' * 500}")
                connection.getresponse().read()

    for _ in _rounds(over):
        _together([flood] * 2)


def conversations(client: Client, over: Event) -> None:
    """Conversations of very many variables, messages and control tokens, and endless ones."""
    empty = {"role": "user", "content": ""}
    requests: list[Any] = [
        chat(_TEXT, chat_template_kwargs={f"k{number}": number for number in range(100_000)}),
        {"model": MODEL, "messages": [empty] * 100_001},
        {"model": MODEL, "messages": [empty] * 16_000},
        chat("<|im_end|>" * 100_000),
        chat(LOOP) | {"model": OTHER},
        chat("a" * 1_000_000, stop=["b" * 4096] * 64),
    ]
    encoded = [json.dumps(request).encode() for request in requests]
    for number in _rounds(over):
        address = _HOSTILE[number % 4]
        _together([partial(client.request, "POST", _CHAT, body, address) for body in encoded])


def stuck(client: Client, over: Event) -> None:
    """Prompts inside a native call that never returns, of several clients."""
    body = chat(NATIVE) | {"model": OTHER}
    for _ in _rounds(over):
        _together([partial(client.request, "POST", _CHAT, body, one) for one in _HOSTILE[:4]])
        over.wait(20)


def callers(client: Client, over: Event) -> None:
    """290 waiting streams of one client, and requests that are opened and closed at once."""
    body = json.dumps(chat(_TEXT, stream=True, max_tokens=2000, ignore_eos=True)).encode()
    with ExitStack() as stack:
        for _ in range(290):
            connection = stack.enter_context(contextlib.closing(client.connect(_HOSTILE[5])))
            with contextlib.suppress(OSError):
                connection.request("POST", _CHAT, body)
        for _ in _rounds(over):
            for _ in range(50):
                closing = contextlib.closing(client.connect(_HOSTILE[6]))
                with contextlib.suppress(OSError), closing as opened:
                    opened.request("POST", _CHAT, body)


def events(client: Client, over: Event) -> None:
    """1,500 subscribers of the events of models, which are loaded and unloaded meanwhile."""
    _allow_descriptors()
    with ExitStack() as stack:
        for number in range(1500):
            if over.is_set():
                return
            address = _HOSTILE[10 + number % 30]
            connection = stack.enter_context(contextlib.closing(client.connect(address)))
            with contextlib.suppress(OSError):
                connection.request("GET", "/api/v2/events")
        for _ in _rounds(over):
            for action, body in (("unload", {}), ("load", SETTINGS[OTHER])):
                path = f"/api/v2/models/{OTHER}/{action}"
                _tolerant(partial(client.request, "POST", path, body, _HOSTILE[0]))


def chunks(client: Client, over: Event) -> None:
    """50 bodies in chunks of one byte, up to the largest size."""
    piece = b"1\r\n \r\n" * 4096

    def send(address: str) -> None:
        with contextlib.closing(client.connect(address)) as connection:
            connection.putrequest("POST", _CHAT)
            connection.putheader("Transfer-Encoding", "chunked")
            connection.endheaders()
            for _ in range(8192):
                if over.is_set():
                    return
                connection.send(piece)

    for _ in _rounds(over):
        _together([partial(send, _HOSTILE[number % 40]) for number in range(50)])


def readers(client: Client, over: Event) -> None:
    """150 clients that open streams with 20 log-probabilities a token, and read nothing."""
    body = json.dumps(
        chat(_TEXT, stream=True, max_tokens=3000, ignore_eos=True, logprobs=True, top_logprobs=20)
    ).encode()
    with ExitStack() as stack:
        for number in range(150):
            address = _HOSTILE[10 + number % 30]
            connection = stack.enter_context(contextlib.closing(client.connect(address)))
            with contextlib.suppress(OSError):
                connection.request("POST", _CHAT, body)
        over.wait()


def wide(client: Client, over: Event) -> None:
    """128 answers with 256 log-probabilities a token, as a stream and in one piece."""
    body = chat(_TEXT, n=128, max_tokens=24, ignore_eos=True, logprobs=True, top_logprobs=256)
    for number in _rounds(over):
        fields = body | {"stream": number % 2 == 0}
        _tolerant(partial(client.request, "POST", _CHAT, fields, _HOSTILE[7]))


def hosts(client: Client, over: Event) -> None:
    """Hosts that are no addresses, and images at addresses that are not public."""
    urls = ("http://[::127.0.0.1]/", "http://169.254.169.254/", "http://0/", "http://localhost:1/")
    parts = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    images = {"model": MODEL, "messages": [{"role": "user", "content": parts}]}
    for _ in _rounds(over):
        for host in ("[::1]evil.com", "evil.com:x", "\x7f", "a" * 5000):
            _tolerant(partial(client.request, "GET", "/health", None, _HOSTILE[8], Host=host))
        _tolerant(lambda: client.request("POST", _CHAT, images, _HOSTILE[8]))


def run(name: str, port: int, over: Event) -> None:
    """Run an attack by its name; the target of a process."""
    ATTACKS[name](Client(port), over)


ATTACKS: dict[str, Attack] = {
    "bodies": bodies,
    "connections": connections,
    "log": log,
    "conversations": conversations,
    "stuck": stuck,
    "callers": callers,
    "events": events,
    "chunks": chunks,
    "readers": readers,
    "wide": wide,
    "hosts": hosts,
}
