"""Timings and probabilities in the form of llama-server."""

import math

import pytest

from llamabind.request import Timings
from server.api.shared.answer_documents import logprobs_document, timings_document
from server.protocol.outputs import LogprobEntry, PromptProgress
from server.streams.token_stream import TokenUsage


def test_times_per_token_and_rates_leave_out_the_first_token_of_the_answer() -> None:
    document = timings_document(TokenUsage(10, 5, 2), Timings(1.0, 16.0, 20.0))
    assert document["prompt_per_token_ms"] == 2.0
    assert document["predicted_per_token_ms"] == 5.0
    assert document["predicted_per_second"] == 200.0
    assert "draft_n" not in document


@pytest.mark.parametrize("usage", [TokenUsage(0, 0, 0), TokenUsage(4, 1, 4)])
def test_without_tokens_times_per_token_are_zero(usage: TokenUsage) -> None:
    document = timings_document(usage, Timings(0.0, 0.0, 0.0))
    assert document["prompt_per_token_ms"] == document["predicted_per_token_ms"] == 0.0


@pytest.mark.parametrize(("processed", "prompt_n"), [(2, 0), (6, 4)])
def test_timings_of_a_prompt_in_progress_count_what_is_computed(
    processed: int, prompt_n: int
) -> None:
    progress = PromptProgress(10, 2, processed, 8.0)
    document = timings_document(TokenUsage(10, 0, 2), Timings(0.0, 8.0, 0.0), progress)
    assert (document["cache_n"], document["prompt_n"]) == (2, prompt_n)


def test_drafts_are_listed_where_there_were_any() -> None:
    document = timings_document(TokenUsage(4, 9, 0), Timings(0.0, 1.0, 2.0, 8, 5))
    assert (document["draft_n"], document["draft_n_accepted"]) == (8, 5)


def test_probabilities_after_the_samplers_are_between_0_and_1() -> None:
    entry = LogprobEntry(1, b"a", -math.inf, ((2, b"b", 0.0),), is_final=True)
    [document] = logprobs_document([entry])["content"]
    assert document["prob"] == 0.0
    assert document["top_probs"] == [{"id": 2, "token": "b", "bytes": [98], "prob": 1.0}]
    assert "logprob" not in document
