"""Images named by URLs: which hosts the server fetches from, its limits, and what it refuses."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from server.errors import InvalidRequestError
from server.http.app_keys import MEDIA
from server.protocol.job import ChatPrompt, Job
from server.requests import remote_media
from server.requests.remote_media import ANY_HOST, MAX_BYTES, MAX_FILES, MediaFetcher, is_public
from tests.support.gguf_files import write_gguf
from tests.support.png_file import PNG_HEADER as PNG
from tests.support.server_app import Client, make_app


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("8.8.8.8", True),
        ("2606:4700:4700::1111", True),
        ("::ffff:8.8.8.8", True),
        ("127.0.0.1", False),
        ("0.0.0.0", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("100.64.0.1", False),
        ("169.254.169.254", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fc00::1", False),
        ("fec0::1", False),
        ("ff02::1", False),
        ("::ffff:127.0.0.1", False),
        ("64:ff9b::7f00:1", False),
        ("2002:7f00:1::1", False),
        ("::127.0.0.1", False),
        ("::ffff:0:7f00:1", False),
        ("64:ff9b:1::7f00:1", False),
        ("2001:0:4136:e378:8000:63bf:80ff:fffe", False),
        ("2001:db8::1", False),
        ("3fff::1", False),
        ("4000::1", False),
        ("127.1", False),
        ("2130706433", False),
        ("no address", False),
    ],
)
def test_only_public_addresses_count_as_public(address: str, expected: bool) -> None:
    assert is_public(address) is expected


def job_of(*urls: str) -> Job:
    parts: list[dict[str, Any]] = [{"type": "text", "text": "What is this?"}]
    parts += [
        {"type": "media", "url": url, "kind": "image", "param": f"image {index}"}
        for index, url in enumerate(urls)
    ]
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "a"},
        {"role": "user", "content": parts},
    ]
    return Job(prompt=ChatPrompt(messages=messages))


async def refusal(fetcher: MediaFetcher, *urls: str) -> str:
    with pytest.raises(InvalidRequestError) as caught:
        await fetcher.complete(job_of(*urls))
    await fetcher.close()
    assert caught.value.param == f"image {len(urls) - 1}"
    return caught.value.message


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/a.png",
        "http://127.1/a.png",
        "http://2130706433/a.png",
        "http://0x7f000001/a.png",
        "http://[::1]/a.png",
        "http://[::ffff:127.0.0.1]/a.png",
        "http://localhost/a.png",
        "https://169.254.169.254/latest/meta-data",
        "http://user:word@127.0.0.1/",
    ],
)
async def test_this_machine_and_its_network_are_never_connected_to(url: str) -> None:
    assert "its address is not public" in await refusal(MediaFetcher((ANY_HOST,)), url)


async def test_disabled_fetching_is_a_refusal_that_names_the_flag() -> None:
    message = await refusal(MediaFetcher(()), "https://example.com/a.png")
    assert "--media-hosts" in message


async def test_a_text_takes_the_place_of_a_results_file_that_cannot_be_fetched() -> None:
    prompt = job_of("https://example.com/a.png").prompt
    assert isinstance(prompt, ChatPrompt)
    messages = [*prompt.messages[:1], prompt.messages[1] | {"role": "tool"}]
    fetcher = MediaFetcher(())
    job = await fetcher.complete(Job(prompt=ChatPrompt(messages=messages, warnings=("first",))))
    await fetcher.close()
    assert isinstance(job.prompt, ChatPrompt)
    text, left_out = job.prompt.messages[1]["content"]
    assert text == {"type": "text", "text": "What is this?"}
    assert left_out["text"].startswith("[a file is left out: cannot be fetched: ")
    first, second = job.warnings
    assert first == "first"
    assert second.startswith("image 0 is left out: cannot be fetched: ")


async def test_only_listed_hosts_are_fetched_from() -> None:
    message = await refusal(MediaFetcher(("example.com",)), "https://example.org/a.png")
    assert "host example.org is not allowed" in message


_FILES = {"/cat.png": PNG, "/large": bytes(MAX_BYTES + 1), "/text": b"no picture"}
_REDIRECTS = {
    "/there": "/cat.png",
    "/round": "/round",
    "/file": "file:///etc/passwd",
    "/away": "http://10.0.0.1/cat.png",
}


class Site:
    """A web site on this machine, which records the paths that are requested."""

    def __init__(self) -> None:
        self.requested: list[str] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.requested.append(request.path)
        assert "gzip" not in request.headers["Accept-Encoding"]
        assert "Authorization" not in request.headers
        if request.path == "/slow":
            await asyncio.Event().wait()
        if request.path in _REDIRECTS:
            return web.Response(status=302, headers={"Location": _REDIRECTS[request.path]})
        body = _FILES.get(request.path)
        return web.Response(status=404) if body is None else web.Response(body=body)


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.fixture
async def address(site: Site) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_get("/{path}", site.answer)
    async with TestServer(app) as server:
        yield str(server.make_url("/"))


@pytest.fixture
async def fetcher() -> AsyncIterator[MediaFetcher]:
    """A fetcher that may connect to this machine, unlike that of a server."""
    fetcher = MediaFetcher((ANY_HOST,), may_connect=lambda address: address == "127.0.0.1")
    yield fetcher
    await fetcher.close()


async def test_images_are_fetched_and_keep_their_positions(
    fetcher: MediaFetcher, address: str
) -> None:
    named = address.replace("127.0.0.1", "user:word@localhost")
    job = await fetcher.complete(job_of(f"{address}cat.png", f"{named}there"))
    assert isinstance(job.prompt, ChatPrompt)
    assert job.prompt.messages[0]["content"] == "a"
    text, *images = job.prompt.messages[1]["content"]
    assert text == {"type": "text", "text": "What is this?"}
    assert images == [
        {"type": "media", "data": PNG, "param": f"image {index}"} for index in range(2)
    ]


async def test_a_job_without_urls_is_unchanged(fetcher: MediaFetcher) -> None:
    job = Job(prompt=ChatPrompt(messages=[{"role": "user", "content": "http://127.0.0.1/"}]))
    assert await fetcher.complete(job) is job


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("missing", "returned status 404"),
        ("round", "more than 3 redirects"),
        ("file", "only http and https"),
        ("away", "its address is not public"),
        ("large", "larger than 10 MB"),
    ],
)
async def test_a_failed_fetch_is_a_400_that_names_the_part(
    fetcher: MediaFetcher, address: str, path: str, reason: str
) -> None:
    assert reason in await refusal(fetcher, f"{address}cat.png", f"{address}{path}")


async def test_a_fetched_file_is_checked_like_any_other(
    fetcher: MediaFetcher, address: str
) -> None:
    with pytest.raises(ValueError, match="image 0: expected a PNG"):
        await fetcher.complete(job_of(f"{address}text"))


async def test_a_site_that_does_not_answer_is_a_timeout(
    fetcher: MediaFetcher, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_media, "_SECONDS", 0.05)
    assert "timed out after 0.05 s" in await refusal(fetcher, f"{address}slow")


async def test_a_request_that_names_more_than_32_files_is_refused(
    fetcher: MediaFetcher, address: str
) -> None:
    urls = [f"{address}cat.png"] * (MAX_FILES + 1)
    assert "names 33 files, limit 32" in await refusal(fetcher, *urls)
    job = await fetcher.complete(job_of(*urls[1:]))
    assert isinstance(job.prompt, ChatPrompt)
    assert len(job.prompt.messages[1]["content"]) == MAX_FILES + 1


async def test_the_files_of_a_request_share_one_size_limit(
    fetcher: MediaFetcher, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_media, "MAX_TOTAL_BYTES", 3 * len(PNG))
    urls = [f"{address}cat.png"] * 3
    await fetcher.complete(job_of(*urls))
    with pytest.raises(InvalidRequestError, match="all files together") as refused:
        await fetcher.complete(job_of(*urls, urls[0]))
    assert str(refused.value.param).startswith("image ")


async def test_the_files_of_a_request_share_one_time_limit(
    fetcher: MediaFetcher, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_media, "_SECONDS", 0.3)
    started = time.monotonic()
    with pytest.raises(InvalidRequestError, match=r"timed out after 0\.3 s"):
        await fetcher.complete(job_of(*[f"{address}slow"] * MAX_FILES))
    assert time.monotonic() - started < MAX_FILES * 0.3


async def test_no_host_is_contacted_unless_the_server_allows_it(
    tmp_path: Path, site: Site, address: str
) -> None:
    write_gguf(tmp_path / "m.gguf")
    url = {"type": "image_url", "image_url": {"url": f"{address}cat.png"}}
    body = {"model": "m.gguf", "messages": [{"role": "user", "content": [url]}]}
    for hosts, reason in (((), "--media-hosts"), (("*",), "its address is not public")):
        async with Client(TestServer(make_app(tmp_path, media_hosts=hosts))) as client:
            for path in ("/v1/chat/completions", "/apply-template"):
                response = await client.post(path, json=body)
                assert response.status == 400
                error = (await response.json())["error"]
                assert error["param"] == "messages[0].content[0].image_url"
                assert reason in error["message"]
    assert site.requested == []


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("name", "status", "reason"),
    [
        ("cat.png", 200, ""),
        ("text", 400, "expected a PNG"),
        ("missing", 400, "returned status 404"),
    ],
)
async def test_a_request_is_answered_or_refused_after_the_fetch(
    tmp_path: Path, address: str, stream: bool, name: str, status: int, reason: str
) -> None:
    write_gguf(tmp_path / "m.gguf")
    app = make_app(tmp_path)
    app[MEDIA] = MediaFetcher((ANY_HOST,), may_connect=lambda address: address == "127.0.0.1")
    parts = [
        {"type": "text", "text": "echo: "},
        {"type": "image_url", "image_url": {"url": f"{address}{name}"}},
    ]
    body = {"model": "m.gguf", "stream": stream, "messages": [{"role": "user", "content": parts}]}
    async with Client(TestServer(app)) as client:
        response = await client.post("/v1/chat/completions", json=body)
        text = await response.text()
        assert response.status == status, text
        if status == 200:
            assert f"media:{len(PNG)}:messages[0].content[1].image_url" in text
            return
        error = (await response.json())["error"]
        assert error["param"] == "messages[0].content[1].image_url"
        assert reason in error["message"]
