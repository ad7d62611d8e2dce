"""Chat defaults from the server's flags, for fields that a request leaves out."""

from typing import Any

import msgspec
import pytest

from llamabind import SamplingParams
from server.api.shared.generate import with_defaults
from server.config import ServerConfig
from server.protocol.job import ChatPrompt, Job, TextPrompt

_CONFIG = ServerConfig(
    reasoning_format="none",
    enable_thinking=False,
    reasoning_effort="low",
    chat_template_kwargs={"a": 1, "b": 2},
)


def _fields(job: Job) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.structs.asdict(job.prompt)
    names = ("reasoning_format", "enable_thinking", "reasoning_effort", "chat_template_kwargs")
    return {name: fields[name] for name in names}


def test_a_chat_without_settings_has_those_of_the_flags() -> None:
    job = Job(prompt=ChatPrompt(messages=[]), n=3)
    changed = with_defaults(job, _CONFIG)
    assert changed.n == 3
    assert _fields(changed) == {
        "reasoning_format": "none",
        "enable_thinking": False,
        "reasoning_effort": "low",
        "chat_template_kwargs": {"a": 1, "b": 2},
    }


def test_the_settings_of_a_request_win() -> None:
    own = {"reasoning_format": "deepseek", "enable_thinking": True, "reasoning_effort": "high"}
    variables = {"b": 3}
    prompt = ChatPrompt(messages=[], chat_template_kwargs=variables, **own)  # type: ignore[arg-type]
    changed = _fields(with_defaults(Job(prompt=prompt), _CONFIG))
    assert changed == own | {"chat_template_kwargs": {"a": 1, "b": 3}}


@pytest.mark.parametrize("prompt", [ChatPrompt(messages=[]), TextPrompt(content="a")])
def test_without_flags_nothing_changes(prompt: ChatPrompt | TextPrompt) -> None:
    job = Job(prompt=prompt)
    assert with_defaults(job, ServerConfig()) == job


def test_a_text_prompt_gets_no_chat_defaults() -> None:
    job = Job(prompt=TextPrompt(content="a"))
    assert with_defaults(job, _CONFIG) == job


def test_chats_without_a_budget_have_the_servers() -> None:
    config = ServerConfig(reasoning_budget=100, reasoning_budget_message="Enough.")

    def budget(prompt: ChatPrompt | TextPrompt, **asked: Any) -> tuple[int, str]:
        job = with_defaults(Job(prompt=prompt, sampling=SamplingParams(**asked)), config)
        return job.sampling.reasoning_budget_tokens, job.sampling.reasoning_budget_message

    chat = ChatPrompt(messages=[])
    assert budget(chat) == (100, "Enough.")
    assert budget(chat, reasoning_budget_tokens=-1) == (100, "Enough.")  # as llama-server has it
    own = {"reasoning_budget_tokens": 0, "reasoning_budget_message": "Stop."}
    assert budget(chat, **own) == (0, "Stop.")
    assert budget(TextPrompt(content="a")) == (-1, "")
