"""The limit of the JSON values in a body."""

import asyncio
import json

import pytest

from server.errors import InvalidRequestError
from server.http.body.value_limit import MAX_OBJECTS, MAX_VALUES, check_values


def check(raw: bytes) -> None:
    asyncio.run(check_values(raw))


@pytest.mark.parametrize(
    "part", [b"[]", b"{}", b'""', b'{"a":1}', b"[[[1]]]"], ids=lambda part: part.decode()
)
def test_too_many_objects_are_refused_before_they_are_decoded(part: bytes) -> None:
    raw = b'{"messages":[' + part + (b"," + part) * MAX_OBJECTS + b"]}"
    with pytest.raises(InvalidRequestError, match=f"more than {MAX_OBJECTS} objects, lists"):
        check(raw)


def test_too_many_numbers_are_refused() -> None:
    with pytest.raises(InvalidRequestError, match=f"more than {MAX_VALUES} JSON values") as caught:
        check(b"[1" + b",1" * MAX_VALUES + b"]")
    assert caught.value.code == "too_many_values"


def test_token_ids_below_the_limit_pass() -> None:
    check(b'{"prompt":[1' + b",1" * (MAX_VALUES - 10) + b"]}")


@pytest.mark.parametrize("text", ["[{,", '"', "\\", '\\"', '",[', "\\\\\\", 'a"[{"\\'])
@pytest.mark.parametrize("shift", range(4))
def test_a_text_is_one_value_whatever_it_contains(text: str, shift: int) -> None:
    """The shift moves escaped characters across the borders of the slices that are counted."""
    body = {"a": "x" * shift, "text": text * MAX_OBJECTS, "stop": ["b"]}
    check(json.dumps(body).encode())


@pytest.mark.parametrize("shift", range(4))
def test_values_after_escaped_texts_count(shift: int) -> None:
    text = json.dumps("y" * shift + '\\"' * 100_000).encode()
    with pytest.raises(InvalidRequestError, match="objects, lists"):
        check(b'{"text":' + text + b',"junk":[' + b"[]," * MAX_OBJECTS + b"[]]}")


def test_other_requests_run_while_values_are_counted() -> None:
    async def count() -> int:
        task = asyncio.create_task(check_values(b'{"a":"' + b"A" * (1 << 22) + b'"}'))
        n = 0
        while not task.done():
            await asyncio.sleep(0)
            n += 1
        await task
        return n

    assert asyncio.run(count()) >= 1 << 6
