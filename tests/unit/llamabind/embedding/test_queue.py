"""Packing inputs into decodes, and the embedding thread, over a fake runner that sums tokens."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llamabind.embedding.config import EmbeddingConfig, EmbeddingShape, EmbeddingTraits
from llamabind.embedding.queue import EmbeddingQueue, EmbeddingRequest
from llamabind.embedding.thread import EmbeddingThread
from llamabind.errors import (
    DecodeFailedError,
    EngineStoppedError,
    InputTooLongError,
    InvalidParameterError,
    PromptTooLongError,
    QueueFullError,
)


def _shape(**fields) -> EmbeddingShape:
    sizes: dict[str, Any] = {"n_batch": 8, "n_seq_max": 4, "n_cells": 8, "n_input_max": 8}
    return EmbeddingShape(
        **(sizes | {"limit_name": "n_ubatch", "n_vocab": 100, "can_split": False} | fields)
    )


WHOLE = _shape()
SPLIT = _shape(n_cells=20, n_input_max=20, limit_name="n_ctx", can_split=True)


class SummingRunner:
    """Returns the sum of an input's tokens as its vector, and checks the chunks that it gets."""

    def __init__(self, shape: EmbeddingShape) -> None:
        self._shape = shape
        self._parts: dict[int, int] = {}
        self.batches: list[list[int]] = []
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.has_begun = threading.Event()
        self.failure: Exception | None = None

    def run(self, chunks):
        self.has_begun.set()
        assert self.may_go_on.wait(20)
        if self.failure is not None:
            raise self.failure
        assert 1 <= len(chunks) <= self._shape.n_seq_max
        assert len({chunk.seq_id for chunk in chunks}) == len(chunks)
        assert all(0 <= chunk.seq_id < self._shape.n_seq_max for chunk in chunks)
        assert sum(chunk.end - chunk.start for chunk in chunks) <= self._shape.n_batch
        assert sum(len(chunk.item.tokens) for chunk in chunks) <= self._shape.n_cells
        self.batches.append([len(chunk.item.tokens) for chunk in chunks])
        continued = {chunk.seq_id: self._parts.pop(chunk.seq_id) for chunk in chunks if chunk.start}
        assert not self._parts, "an unfinished input was not continued"
        vectors = []
        for chunk in chunks:
            total = continued.get(chunk.seq_id, 0)
            total += sum(chunk.item.tokens[chunk.start : chunk.end])
            if chunk.is_last:
                vectors.append(np.array([total], np.float32))
            else:
                self._parts[chunk.seq_id] = total
        return vectors


def _drain(queue: EmbeddingQueue, runner: SummingRunner) -> None:
    while queue.has_work:
        chunks = queue.next_batch()
        finished = [chunk.item for chunk in chunks if chunk.is_last]
        for item, vector in zip(finished, runner.run(chunks), strict=True):
            item.request.put(item.index, vector)


def _sums(request: EmbeddingRequest) -> list[float]:
    return [vector[0] for vector in request.future.result(timeout=20)]


@settings(max_examples=100)
@given(
    st.booleans(),
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b", None]),
            st.lists(st.lists(st.integers(0, 99), min_size=1, max_size=20), min_size=1, max_size=9),
        ),
        max_size=6,
    ),
)
def test_every_input_gets_its_own_vector_in_the_order_of_inputs(can_split, calls):
    shape = SPLIT if can_split else WHOLE
    queue, runner = EmbeddingQueue(shape), SummingRunner(shape)
    requests = []
    for caller, inputs in calls:
        fitting = [tokens[: shape.n_input_max] for tokens in inputs]
        requests.append(EmbeddingRequest(fitting, caller))
        queue.add(requests[-1])
    _drain(queue, runner)
    assert queue.n_waiting == 0
    for request in requests:
        assert _sums(request) == [sum(tokens) for tokens in request.inputs]


def test_a_smaller_input_fills_the_batch_and_the_passed_over_one_is_next():
    queue, runner = EmbeddingQueue(WHOLE), SummingRunner(WHOLE)
    queue.add(EmbeddingRequest([[1] * 5, [1] * 6, [1] * 2, [1] * 7]))
    _drain(queue, runner)
    assert runner.batches == [[5, 2], [6], [7]]


def test_a_single_input_does_not_wait_for_hundred_inputs_of_another_caller():
    queue, runner = EmbeddingQueue(WHOLE), SummingRunner(WHOLE)
    queue.add(EmbeddingRequest([[1] * 4] * 50, "many"))
    queue.add(EmbeddingRequest([[1] * 4] * 50, "many"))
    queue.add(EmbeddingRequest([[3] * 4], "one"))
    chunks = queue.next_batch()
    assert [chunk.item.request.caller for chunk in chunks] == ["many", "one"]
    assert len(runner.run(chunks)) == 2


def test_a_long_input_is_split_over_decodes_and_others_share_the_last():
    queue, runner = EmbeddingQueue(SPLIT), SummingRunner(SPLIT)
    request = EmbeddingRequest([[1] * 18, [2] * 2, [3] * 4])
    queue.add(request)
    _drain(queue, runner)
    assert runner.batches == [[18], [18], [18, 2], [4]], "the cells are full with 18 + 2"
    assert _sums(request) == [18, 4, 12]


def test_dropping_a_request_keeps_the_others():
    queue, runner = EmbeddingQueue(SPLIT), SummingRunner(SPLIT)
    gone, stays = EmbeddingRequest([[1] * 18, [1]], "a"), EmbeddingRequest([[2]], "a")
    queue.add(gone)
    queue.add(stays)
    queue.next_batch()
    queue.drop(gone)
    _drain(queue, runner)
    assert _sums(stays) == [2]
    assert not gone.future.done()


@pytest.fixture
def runner() -> SummingRunner:
    return SummingRunner(WHOLE)


@pytest.fixture
def thread(runner):
    thread = EmbeddingThread(runner, WHOLE, max_waiting=50)
    yield thread
    runner.may_go_on.set()
    assert thread.close(timeout=20)


def test_callers_on_many_threads_get_their_own_vectors(thread):
    answers = {}

    def call(number: int) -> None:
        request = EmbeddingRequest([[number, i] for i in range(5)])
        thread.submit(request)
        answers[number] = _sums(request)

    callers = [threading.Thread(target=call, args=(number,)) for number in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(20)
    assert answers == {number: [number + i for i in range(5)] for number in range(8)}


def test_inputs_submitted_during_a_decode_share_the_next_one(thread, runner):
    runner.may_go_on.clear()
    requests = [EmbeddingRequest([[i, i]]) for i in range(5)]
    thread.submit(requests[0])
    assert runner.has_begun.wait(20)
    for request in requests[1:]:
        thread.submit(request)
    runner.may_go_on.set()
    assert [_sums(request) for request in requests] == [[2 * i] for i in range(5)]
    assert runner.batches == [[2], [2, 2, 2, 2]]


def test_a_cancelled_input_is_never_computed(thread, runner):
    runner.may_go_on.clear()
    running, waiting, other = (EmbeddingRequest([[i]]) for i in range(3))
    thread.submit(running)
    assert runner.has_begun.wait(20)
    thread.submit(waiting)
    thread.submit(other)
    assert waiting.future.cancel()
    assert running.future.cancel()
    runner.may_go_on.set()
    assert _sums(other) == [2]
    assert runner.batches == [[1], [1]]


def test_a_failed_batch_fails_its_requests_and_the_thread_keeps_running(thread, runner):
    runner.failure = DecodeFailedError(-3, "broken")
    request = EmbeddingRequest([[1] * 8, [1] * 8])
    thread.submit(request)
    with pytest.raises(DecodeFailedError, match="broken"):
        request.future.result(20)
    runner.failure = None
    request = EmbeddingRequest([[1], [2]])
    thread.submit(request)
    assert _sums(request) == [1, 2]


def test_an_input_that_is_too_long_is_refused_with_both_numbers(thread):
    with pytest.raises(
        InputTooLongError, match="9 tokens is too large for n_ubatch of 8"
    ) as caught:
        thread.submit(EmbeddingRequest([[1], [1] * 9]))
    assert (caught.value.n_prompt_tokens, caught.value.n_ctx) == (9, 8)
    assert caught.value.limit_name == "n_ubatch"
    assert isinstance(caught.value, PromptTooLongError)


@pytest.mark.parametrize(
    ("tokens", "says"), [([], "no tokens"), ([100], "0 to 99"), ([-1], "0 to 99")]
)
def test_empty_inputs_and_unknown_token_ids_are_refused(thread, tokens, says):
    with pytest.raises(InvalidParameterError, match=says):
        thread.submit(EmbeddingRequest([[1], tokens]))


def test_a_full_queue_refuses(thread):
    with pytest.raises(QueueFullError):
        thread.submit(EmbeddingRequest([[1]] * 51))


def test_a_request_without_inputs_is_answered_at_once(thread):
    request = EmbeddingRequest([])
    thread.submit(request)
    assert request.future.result(0) == []


def test_close_ends_waiting_requests_with_an_error():
    runner = SummingRunner(WHOLE)
    runner.may_go_on.clear()
    thread = EmbeddingThread(runner, WHOLE)
    running, waiting = EmbeddingRequest([[1]]), EmbeddingRequest([[2]] * 5)
    thread.submit(running)
    assert runner.has_begun.wait(20)
    thread.submit(waiting)
    assert not thread.close(timeout=0.01)
    runner.may_go_on.set()
    assert thread.close(timeout=20)
    assert _sums(running) == [1]
    with pytest.raises(EngineStoppedError):
        waiting.future.result(0)
    with pytest.raises(EngineStoppedError):
        thread.submit(EmbeddingRequest([[1]]))


ENCODER = EmbeddingTraits(
    n_ctx_train=512, n_vocab=30_000, pooling="cls", is_causal=False, is_split=False
)
DECODER = EmbeddingTraits(
    n_ctx_train=32_768, n_vocab=150_000, pooling="none", is_causal=True, is_split=True
)


@pytest.mark.parametrize(
    ("config", "traits", "pooling"),
    [
        (EmbeddingConfig(), ENCODER, "cls"),
        (EmbeddingConfig(pooling="mean"), ENCODER, "mean"),
        (EmbeddingConfig(), DECODER, "last"),
        (EmbeddingConfig(pooling="none"), DECODER, "none"),
    ],
)
def test_pooling_is_the_setting_else_the_models_else_the_default_for_its_attention(
    config, traits, pooling
):
    assert config.context_params(traits).pooling_type == pooling


def test_a_decode_is_always_one_graph():
    for config in (EmbeddingConfig(), EmbeddingConfig(n_ubatch=100), EmbeddingConfig(n_ctx=64)):
        for traits in (ENCODER, DECODER):
            params = config.context_params(traits)
            assert params.n_batch == params.n_ubatch <= params.n_ctx <= traits.n_ctx_train


@pytest.mark.parametrize(
    ("config", "traits", "limit"),
    [
        (EmbeddingConfig(), ENCODER, (512, "n_ctx")),
        (EmbeddingConfig(n_ubatch=128), ENCODER, (128, "n_ubatch")),
        (EmbeddingConfig(), DECODER, (8192, "n_ctx")),
        (EmbeddingConfig(pooling="mean", n_ubatch=256), DECODER, (256, "n_ubatch")),
    ],
)
def test_the_limit_of_an_input_has_the_name_of_its_parameter(config, traits, limit):
    shape = config.shape(traits, config.context_params(traits).n_ubatch, 4)
    assert (shape.n_input_max, shape.limit_name) == limit
