"""Seeds, stop strings, samplers and breakers in the forms that clients write them."""

from typing import Any

import msgspec
import pytest

from llamabind.sampling.params import DEFAULT_SAMPLERS, RANDOM_SEED
from server.api.anthropic.jobs import messages_job
from server.api.anthropic.schema import MessagesBody
from server.api.openai.chat import ChatCompletionBody
from server.api.schema.sampling_words import reduced_seed
from server.protocol.job import Job

_MESSAGES = [{"role": "user", "content": "hi"}]


def _job(**fields: Any) -> Job:
    return msgspec.convert({"messages": _MESSAGES} | fields, ChatCompletionBody).to_job("me")


@pytest.mark.parametrize("seed", [2**53 - 1, 2**63 - 1, 2**64 - 1, 2**32, -5, -(2**63), 10**400])
def test_a_seed_of_any_size_is_a_seed_and_not_a_random_one(seed: int) -> None:
    assert 0 <= reduced_seed(seed) < RANDOM_SEED
    assert _job(seed=seed).sampling.seed == reduced_seed(seed)


def test_a_seed_of_32_bits_is_kept() -> None:
    assert [reduced_seed(seed) for seed in (0, 42, 2**32 - 2)] == [0, 42, 2**32 - 2]
    assert {reduced_seed(-1), reduced_seed(RANDOM_SEED)} == {RANDOM_SEED}


@pytest.mark.parametrize("stop", ["", [""], ["a", ""]])
def test_an_empty_stop_string_is_ignored_with_a_warning(stop: Any) -> None:
    job = _job(stop=stop)
    assert "" not in job.stop
    assert job.warnings == ("stop: 1 empty stop string ignored",)


def test_empty_stop_sequences_are_ignored_with_a_warning() -> None:
    body = {"messages": _MESSAGES, "max_tokens": 5, "stop_sequences": ["a", "", ""]}
    job = messages_job(msgspec.convert(body, MessagesBody), "me")
    assert job.stop == ("a",)
    assert job.warnings == ("stop_sequences: 2 empty stop strings ignored",)


def test_many_stop_strings_are_taken() -> None:
    stops = [f"<stop{number}>" for number in range(1000)]
    job = _job(stop=stops)
    assert (job.stop, job.warnings) == (tuple(stops), ())


@pytest.mark.parametrize(
    ("samplers", "expected"),
    [
        (["top_k", "temperature"], ("top_k", "temperature")),
        (["top_k", "no_such", "mirostat"], ("top_k",)),
        ("kt", ("top_k", "temperature")),
        ("edskypmxt", DEFAULT_SAMPLERS),
        ("top_k;temperature", ("top_k", "temperature")),
        ("top-k, min_p", ("top_k", "min_p")),
        ("temperature", ("temperature",)),
        ([], ()),
        (["no_such"], DEFAULT_SAMPLERS),
        ("!", DEFAULT_SAMPLERS),
    ],
)
def test_samplers_are_names_or_letters_and_unknown_ones_are_left_out(
    samplers: Any, expected: tuple[str, ...]
) -> None:
    assert _job(samplers=samplers).sampling.samplers == expected


def test_an_unknown_sampler_is_named_in_a_warning() -> None:
    [warning] = _job(samplers=["top_k", "no_such"]).warnings
    assert "'no_such'" in warning
    assert len(_job(samplers=["a" * 10_000] * 100).warnings[0]) < 500


@pytest.mark.parametrize(
    ("breakers", "expected"),
    [
        ('["\\n", ":"]', ("\n", ":")),
        ('"\\n", ":", "\\"", "*"', ("\n", ":", '"', "*")),
        (":", (":",)),
        ([":", ""], (":",)),
        ("", ()),
        ([], ()),
        ([str(number) for number in range(100)], tuple(map(str, range(64)))),
    ],
)
def test_sequence_breakers_may_be_a_text(breakers: Any, expected: tuple[str, ...]) -> None:
    assert _job(dry_sequence_breakers=breakers).sampling.dry_sequence_breakers == expected
