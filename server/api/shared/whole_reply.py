"""whole_reply: the JSON of an answer in one piece, made beside the event loop if it is large."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from aiohttp import web

from server.http.body.json_body import json_reply
from server.streams.answer import Answer

LARGE_BYTES = 64 << 10
"""Log-probabilities of an answer that take longer than some milliseconds to write."""


async def whole_reply(answers: Iterable[Answer], make: Callable[[], Any]) -> web.Response:
    """The reply with the document that `make` returns; with many log-probabilities of `answers`
    on a thread, so that other requests need not wait for it.
    """
    n_bytes = sum(answer.n_packed_bytes for answer in answers)
    if n_bytes < LARGE_BYTES:
        return json_reply(make())
    return await asyncio.to_thread(lambda: json_reply(make()))
