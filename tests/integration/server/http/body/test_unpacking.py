"""Compressed bodies: unpacked in slices up to a limit, after the key check, and refused by name."""

import gzip
import json
import zlib
from pathlib import Path

import pytest

from server.http.body import bodies
from server.http.body.unpacking import (
    UnpackedTooLargeError,
    UnpackError,
    encodings,
    is_known,
    unpack,
)
from tests.support.raw_http import exchange, running
from tests.support.server_app import chat_body

_TEXT = json.dumps(chat_body("hi there", max_tokens=2)).encode()


def _raw_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush()


def _zstd(data: bytes) -> bytes:
    """One frame with raw blocks, as RFC 8878 has it: no compressor is needed."""
    assert len(data) < 256
    head = b"\x28\xb5\x2f\xfd\x20" + bytes([len(data)])
    return head + (len(data) << 3 | 1).to_bytes(3, "little") + data


def _request(body: bytes, encoding: str, *, key: str = "") -> bytes:
    lines = [
        "POST /api/v2/chat/m.gguf HTTP/1.1",
        "Host: localhost",
        f"Content-Encoding: {encoding}",
        f"Content-Length: {len(body)}",
        *([f"Authorization: Bearer {key}"] if key else []),
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(_TEXT)),
        ("x-gzip", gzip.compress(_TEXT)),
        ("GZIP", gzip.compress(_TEXT)),
        ("deflate", zlib.compress(_TEXT)),
        ("deflate", _raw_deflate(_TEXT)),
        ("identity", _TEXT),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{len(value)} bytes",
)
async def test_a_compressed_body_is_answered(tmp_path: Path, encoding: str, body: bytes) -> None:
    async with running(tmp_path) as port:
        status, _, document = await exchange(port, _request(body, encoding))
    assert status == 200, document
    assert document["choices"][0]["message"]["content"]


async def test_zstd_is_unpacked_where_python_can_and_else_refused_by_name(tmp_path: Path) -> None:
    async with running(tmp_path) as port:
        status, headers, document = await exchange(port, _request(_zstd(_TEXT), "zstd"))
    if is_known("zstd"):
        assert status == 200, document
    else:
        assert status == 415
        assert headers["accept-encoding"] == "gzip, deflate"


@pytest.mark.parametrize("encoding", ["br", "compress", "gzip, gzip", "x-identity", "\x7f"])
async def test_an_unknown_encoding_is_415_and_says_which_are_known(
    tmp_path: Path, encoding: str
) -> None:
    async with running(tmp_path) as port:
        status, headers, document = await exchange(port, _request(_TEXT, encoding))
    assert status in (400, 415) if encoding == "\x7f" else status == 415
    if status == 415:
        assert document["error"]["code"] == "unsupported_encoding"
        assert "gzip or deflate" in document["error"]["message"].replace(" or zstd", "")
        assert headers["connection"] == "close"


@pytest.mark.parametrize(
    "body",
    [
        b"hello",
        gzip.compress(_TEXT)[:-9],
        gzip.compress(_TEXT) + b"x",
        gzip.compress(_TEXT) + gzip.compress(_TEXT),
        gzip.compress(b"a" * 70_000, compresslevel=0) + b"x",
    ],
    ids=["text", "truncated", "one more byte", "two members", "one more byte after a large text"],
)
async def test_a_damaged_body_is_a_400(tmp_path: Path, body: bytes) -> None:
    async with running(tmp_path) as port:
        status, _, document = await exchange(port, _request(body, "gzip"))
    assert status == 400, document
    assert document["error"]["code"] == "bad_body"


async def test_nothing_is_unpacked_for_a_wrong_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unpacked: list[str] = []

    def record(data: bytes, encoding: str, limit: int) -> object:
        unpacked.append(encoding)
        return unpack(data, encoding, limit)

    monkeypatch.setattr(bodies, "unpack", record)
    body = gzip.compress(_TEXT)
    async with running(tmp_path, api_keys=("right",)) as port:
        status, _, _ = await exchange(port, _request(body, "gzip", key="wrong"))
        assert (status, unpacked) == (401, [])
        status, _, _ = await exchange(port, _request(body, "gzip", key="right"))
        assert (status, unpacked) == (200, ["gzip"])


@pytest.mark.parametrize("encoding", encodings())
def test_a_bomb_costs_as_many_slices_as_the_limit_has(encoding: str) -> None:
    if encoding == "zstd":
        # A block of one byte repeated 2^17 times, 1,000 of them.
        block = (1 << 17 << 3 | 2).to_bytes(3, "little") + b" "
        bomb = b"\x28\xb5\x2f\xfd\x00\x38" + block * 1000
    else:
        spaces = b" " * (64 << 20)
        bomb = gzip.compress(spaces) if encoding == "gzip" else zlib.compress(spaces)
    sizes: list[int] = []

    def unpack_all() -> None:
        for piece in unpack(bomb, encoding, 1 << 20):
            sizes.append(len(piece))

    with pytest.raises(UnpackedTooLargeError):
        unpack_all()
    assert sum(sizes) <= 1 << 20
    assert max(sizes) <= 1 << 18
    assert len(sizes) <= 16


def test_what_is_exactly_as_large_as_the_limit_passes() -> None:
    data = bytes(1 << 20)
    assert b"".join(unpack(gzip.compress(data), "gzip", 1 << 20)) == data
    with pytest.raises(UnpackedTooLargeError):
        list(unpack(gzip.compress(data + b"x"), "gzip", 1 << 20))


def test_what_does_not_shrink_is_unpacked_whole() -> None:
    data = bytes(range(256)) * 2000
    packed = gzip.compress(data, compresslevel=0)
    assert b"".join(unpack(packed, "gzip", 1 << 20)) == data
    with pytest.raises(UnpackError):
        list(unpack(packed[:-1], "gzip", 1 << 20))
