"""Integers of more than 64 bits in a job are rounded, except where the client is strict."""

import sys
from typing import Any

import pytest

from server.errors import InvalidRequestError
from server.protocol.framing import FrameReader
from server.protocol.job import ChatPrompt, Job, TextPrompt
from server.protocol.messages import Ask, Submit, ToWorker
from server.protocol.tasks import Render
from server.supervisor.request_frames import request_frame

_WIDE = 2**64


def _tool(schema: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "f", "parameters": schema, **more}}


def _job(**fields: Any) -> Job:
    return Job(prompt=ChatPrompt(messages=[{"role": "user", "content": "x"}], **fields))


def _received(message: Submit | Ask) -> tuple[Any, tuple[str, ...]]:
    frame, warnings = request_frame(message)
    reader: FrameReader[ToWorker] = FrameReader(ToWorker)
    (received,) = reader.feed(frame)
    return received, warnings


@pytest.mark.parametrize(
    ("wide", "rounded"),
    [(_WIDE, 2.0**64), (-(2**63) - 1, -(2.0**63)), (10**400, sys.float_info.max)],
)
@pytest.mark.parametrize("keyword", ["maximum", "enum", "default"])
def test_a_wide_integer_in_a_tool_is_rounded(wide: int, rounded: float, keyword: str) -> None:
    def tools(number: float) -> list[dict[str, Any]]:
        value = [number, 1] if keyword == "enum" else number
        return [_tool({"type": "integer", keyword: value})]

    received, warnings = _received(Submit("1", _job(tools=tools(wide))))
    assert received.job.prompt.tools == tools(rounded)
    assert len(warnings) == 1
    assert warnings[0].startswith(f"tools[0].function.parameters.{keyword}")


def test_schemas_and_template_variables_are_rounded_too() -> None:
    fields = {"json_schema": {"maximum": _WIDE}, "chat_template_kwargs": {"a": [_WIDE]}}
    received, warnings = _received(Ask("1", Render(_job(lenient_schema=True, **fields))))
    assert received.task.job.prompt.json_schema == {"maximum": 2.0**64}
    assert received.task.job.prompt.chat_template_kwargs == {"a": [2.0**64]}
    assert len(warnings) == 2
    text = Job(prompt=TextPrompt(content="x", json_schema={"minimum": -_WIDE}))
    assert _received(Submit("1", text))[0].job.prompt.json_schema == {"minimum": -(2.0**64)}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        (
            {"tools": [_tool({"maximum": _WIDE}, strict=True)]},
            "tools[0].function.parameters.maximum",
        ),
        ({"json_schema": {"maximum": _WIDE}, "lenient_schema": False}, "json_schema.maximum"),
    ],
)
def test_strict_schemas_are_refused(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequestError, match="out of range") as caught:
        request_frame(Submit("1", _job(**fields)))
    assert caught.value.param == param


def test_a_job_of_narrow_numbers_has_no_warnings() -> None:
    job = _job(tools=[_tool({"maximum": 2**64 - 1})])
    assert _received(Submit("1", job)) == (Submit("1", job), ())
