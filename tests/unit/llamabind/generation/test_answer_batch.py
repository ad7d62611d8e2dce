"""AnswerBatch, OutputRouter and Prompter: answers from outputs, outputs to sinks, requests."""

from __future__ import annotations

import threading

import pytest

from llamabind.errors import InvalidParameterError
from llamabind.generation.answer import AnswerBuilder
from llamabind.generation.answer_batch import AnswerBatch
from llamabind.generation.output_router import OutputRouter
from llamabind.generation.progress_bar import ProgressBar
from llamabind.generation.prompt_requests import PromptRequests
from llamabind.generation.prompter import Prompter
from llamabind.request import (
    FinishReason,
    GenerationRequest,
    RequestOutput,
    Timings,
    TokenLogprob,
    Usage,
)
from llamabind.sampling.params import RANDOM_SEED, SamplingParams


def _output(request_id: str, text: str, finish: FinishReason | None = None, **fields):
    tokens = tuple(ord(character) for character in text)
    timings = Timings(1, 2, 3) if finish else None
    return RequestOutput(request_id, text, tokens, Usage(3, 1, 0), finish, timings, **fields)


def _prompts(*ids: tuple[str, ...]) -> list[PromptRequests]:
    return [
        PromptRequests(
            tuple(GenerationRequest(request_id=name, prompt_tokens=(1, 2, 3)) for name in names)
        )
        for names in ids
    ]


def _start(batch: AnswerBatch) -> list[str]:
    started = []
    while (request := batch.next_request()) is not None:
        started.append(request.request_id)
    return started


def test_answers_come_in_the_order_of_their_prompts():
    batch = AnswerBatch(_prompts(("a",), ("b", "c")), window=9)
    assert _start(batch) == ["a", "b", "c"]
    batch.take([_output("c", "C", FinishReason.STOP), _output("b", "B1")])
    batch.take([_output("a", "A", FinishReason.LENGTH)])
    found = (batch.n_finished, batch.n_answers, batch.live, batch.is_done)
    assert found == (2, 3, ["b"], False)
    batch.take([_output("b", "B2", FinishReason.STOP)])
    assert batch.is_done
    first, second = batch.results()
    assert (first.text, first.finish_reason) == ("A", FinishReason.LENGTH)
    assert [answer.text for answer in second.answers] == ["B1B2", "C"]
    assert second.token_ids == (66, 49, 66, 50)
    assert second.prompt_tokens == (1, 2, 3)
    assert second.timings == Timings(1, 2, 3)


def test_only_a_window_of_requests_is_live():
    batch = AnswerBatch(_prompts(*((str(i),) for i in range(5))), window=2)
    assert _start(batch) == ["0", "1"]
    assert _start(batch) == []
    batch.take([_output("1", "x", FinishReason.STOP)])
    assert _start(batch) == ["2"]
    assert sorted(batch.live) == ["0", "2"]


def test_a_request_refused_by_a_full_queue_is_started_later():
    batch = AnswerBatch(_prompts(("a",), ("b",), ("c",)), window=3)
    batch.next_request()
    refused = batch.next_request()
    assert refused is not None
    assert batch.postpone(refused)
    assert _start(batch) == []
    batch.take([_output("a", "x", FinishReason.STOP)])
    again = batch.next_request()
    assert again is not None
    assert again.request_id == "b"


def test_a_refusal_is_raised_if_no_other_request_of_the_batch_is_live():
    batch = AnswerBatch(_prompts(("a",)), window=3)
    refused = batch.next_request()
    assert refused is not None
    assert not batch.postpone(refused)


def test_logprobs_and_errors_are_kept():
    builder = AnswerBuilder()
    one, two = TokenLogprob(1, -1.0), TokenLogprob(2, -2.0)
    assert builder.add(_output("a", "x", logprobs=(one,), prompt_logprobs=(two,))) is None
    answer = builder.add(
        _output("a", "", FinishReason.ERROR, logprobs=(two,), error="it broke"),
    )
    assert answer is not None
    assert answer.logprobs == (one, two)
    assert builder.prompt_logprobs == (two,)
    assert (answer.finish_reason, answer.error) == (FinishReason.ERROR, "it broke")


def test_a_sink_is_called_once_a_step_with_all_its_outputs():
    router = OutputRouter()
    mine: list[list[RequestOutput]] = []
    yours: list[list[RequestOutput]] = []
    router.open("a", mine.append)
    router.open("b", mine.append)
    router.open("c", yours.append)
    step = [_output("a", "1"), _output("c", "2"), _output("b", "3"), _output("unknown", "4")]
    router.deliver(step)
    assert mine == [[step[0], step[2]]]
    assert yours == [[step[1]]]


def test_a_sink_gets_nothing_after_the_last_output_or_close():
    router = OutputRouter()
    got: list[list[RequestOutput]] = []
    router.open("a", got.append)
    router.open("b", got.append)
    router.deliver([_output("a", "1", FinishReason.STOP)])
    router.close("b")
    router.close("never opened")
    router.deliver([_output("a", "2"), _output("b", "3")])
    assert [output.text for batch in got for output in batch] == ["1"]


class LetterTokenizer:
    def encode(self, text, *, add_special=True, parse_special=False, check=None):
        assert add_special
        assert parse_special
        return [ord(character) for character in text]


@pytest.fixture
def prompter() -> Prompter:
    return Prompter(LetterTokenizer(), None, 8)  # type: ignore[arg-type] # a stand-in


def test_options_reach_the_request(prompter):
    options = {"max_tokens": 3, "stop": "end", "logprobs": 2, "caller": "me"}
    request = prompter.prepare("ab", SamplingParams(top_k=1), options).request
    assert request.prompt_tokens == (97, 98)
    assert (request.max_tokens, request.stop, request.logprobs) == (3, ("end",), 2)
    assert (request.caller, request.sampling.top_k) == ("me", 1)
    assert prompter.prepare([5, 6], None, {}).request.prompt_tokens == (5, 6)


def test_each_of_n_answers_has_an_id_and_a_seed_of_its_own(prompter):
    requests = prompter.prepare("a", SamplingParams(seed=RANDOM_SEED - 1), {"n": 3}).requests
    assert len({request.request_id for request in requests}) == 3
    assert [request.sampling.seed for request in requests] == [RANDOM_SEED - 1, 0, 1]
    requests = prompter.prepare("a", None, {"n": 2}).requests
    assert [request.sampling.seed for request in requests] == [None, None]


@pytest.mark.parametrize(
    ("options", "field"),
    [({"n": 0}, "n"), ({"max_token": 3}, "max_token"), ({"tools": []}, "tools")],
)
def test_an_unknown_or_wrong_option_is_named_in_the_error(prompter, options, field):
    with pytest.raises(InvalidParameterError) as caught:
        prompter.prepare("a", None, options)
    assert caught.value.field == field


def test_ids_are_unique_among_threads(prompter):
    ids: list[str] = []

    def prepare() -> None:
        ids.extend(prompter.prepare("a", None, {}).request.request_id for _ in range(200))

    threads = [threading.Thread(target=prepare) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(set(ids)) == 800


def test_a_progress_bar_without_tqdm_raises_an_error_that_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tqdm.auto", None)
    with pytest.raises(InvalidParameterError, match=r"llamabind\[progress\]"):
        ProgressBar(3, is_shown=True)
    ProgressBar(3, is_shown=False).show(1)
