"""The child processes that talk to a hub: their variables, their log, their end."""

import logging
import sys

import pytest

from server.errors import ApiError
from server.hub.lookups import Hub
from server.hub.messages import Probe, Search
from server.hub.process import HubProcess, child_environment

_TOKEN = "hf_" + "s3cret" * 6


def _child(code: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code)


def test_a_token_travels_in_the_environment_and_requests_are_not_printed() -> None:
    environment = child_environment({"HF_DEBUG": "1", "PATH": "/bin"}, token=_TOKEN)
    assert environment["HF_TOKEN"] == _TOKEN
    assert "HF_DEBUG" not in environment
    assert (environment["PATH"], environment["HF_HUB_DISABLE_XET"]) == ("/bin", "1")
    assert "HF_TOKEN" not in child_environment({}, token=None)


async def test_secrets_in_the_output_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    line = f"GET https://cdn.example/x?Signature=abc&Key=def with {_TOKEN} failed"
    process = await HubProcess.start(_child(f"import sys; print({line!r}, file=sys.stderr)"), {})
    with pytest.raises(ApiError, match="ended with status 0"):
        async for _ in process.ask(Search(1, "x", 1)):
            pass
    await process.stop()
    assert "cdn.example" in caplog.text
    assert "Signature" not in caplog.text
    assert _TOKEN not in caplog.text


@pytest.mark.parametrize("code", ["print('not frames')", "import os; os.write(1, b'\\xff' * 99)"])
async def test_a_child_that_sends_nonsense_is_an_error(code: str) -> None:
    process = await HubProcess.start(_child(code), {})
    with pytest.raises(ApiError) as caught:
        async for _ in process.ask(Probe(1, "a/b", "c", "d")):
            pass
    assert caught.value.code == "download_failed"
    await process.stop()
    assert not process.is_running


async def test_stop_ends_a_child_that_does_not_listen() -> None:
    process = await HubProcess.start(_child("import time; time.sleep(600)"), {})
    await process.stop()
    assert not process.is_running


async def test_a_command_that_cannot_start_is_an_error() -> None:
    hub = Hub(("/no/such/program",), {})
    with pytest.raises(ApiError, match="cannot start"):
        await hub.start()


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("", "https://huggingface.co"),
        ("http://127.0.0.1:9/", "http://127.0.0.1:9"),
        ("https://user:pass@mirror.example/hub/", "https://mirror.example/hub"),
    ],
)
def test_the_address_of_the_hub_is_shown_without_a_password(address: str, shown: str) -> None:
    assert Hub((), {"HF_ENDPOINT": address}).endpoint == shown
