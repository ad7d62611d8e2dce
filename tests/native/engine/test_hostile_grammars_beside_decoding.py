"""Hostile grammars, triggers and schemas do not delay or change requests that are decoding."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any

import pytest

from llamabind._capi.shim import lb_status
from llamabind.engine.engine import Engine
from llamabind.errors import GrammarError, InvalidParameterError
from llamabind.request import ErrorCode, FinishReason, GenerationRequest, RequestOutput
from llamabind.sampling.params import GrammarTrigger, SamplingParams
from llamabind.schema.to_grammar import json_schema_to_grammar
from tests.support.engine_runs import (
    ENDLESS,
    Outputs,
    assert_same,
    make_request,
    run,
    submit,
    tiny_engine,
    tokens_of,
)
from tests.support.hostile_grammars import HARMLESS, PATTERNS, REFUSED, SCHEMAS, TRIED
from tests.support.shim_grammar import ShimGrammar

pytestmark = pytest.mark.native

N_STREAMS = 4
N_TOKENS = 1500
SLOW = "tried: 100,000 rules"
"""Takes a hundred milliseconds of native code to prepare, tens of steps."""


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with tiny_engine(n_ctx=8192, n_parallel=8) as engine:
        yield engine


def _decoding_requests(engine: Engine) -> dict[str, GenerationRequest]:
    questions = ["Tell me a story", "Count to ten", "What is the sky?", "Who are you?"]
    return {
        f"stream{i}": make_request(
            f"stream{i}", engine.tokenizer.encode(text), N_TOKENS, sampling=ENDLESS
        )
        for i, text in enumerate(questions)
    }


def _sampling(kind: str, name: str, value: Any) -> SamplingParams:
    """The parameters that a client would send; raises GrammarError or InvalidParameterError."""
    if kind == "schema":
        return SamplingParams(temperature=0, grammar=json_schema_to_grammar(value))
    if kind == "pattern":
        triggers = (GrammarTrigger("pattern", value),)
        grammar = 'root ::= "a"+'
        return SamplingParams(
            temperature=0, grammar=grammar, grammar_lazy=True, grammar_triggers=triggers
        )
    return SamplingParams(temperature=0, grammar=value)


def _hostile() -> list[tuple[str, str, Any]]:
    """Every case, by kind and name."""
    return [
        *(("refused", name, grammar) for name, (grammar, _) in REFUSED.items()),
        *(("tried", name, grammar) for name, grammar in TRIED.items()),
        *(("pattern", name, pattern) for name, pattern in PATTERNS.items()),
        *(("schema", name, schema) for name, schema in SCHEMAS.items()),
    ]


class Siege:
    """A thread that prepares hostile requests, as the server's intake does, while the engine's
    thread steps; four of them run at most. Per case it notes the steps made meanwhile.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.refusals: dict[str, str] = {}
        self.requests: dict[str, GenerationRequest] = {}
        self.n_steps_beside: dict[str, int] = {}
        self.seconds: dict[str, float] = {}
        self.ready: SimpleQueue[GenerationRequest] = SimpleQueue()
        self.slots = threading.Semaphore(4)
        self._thread = threading.Thread(target=self._prepare_all)

    def start(self) -> None:
        self._thread.start()

    @property
    def is_over(self) -> bool:
        return not self._thread.is_alive() and self.ready.empty()

    def _prepare_all(self) -> None:
        for kind, name, value in _hostile():
            self.slots.acquire()
            self._prepare(f"{kind}: {name}", kind, name, value)

    def _prepare(self, case: str, kind: str, name: str, value: Any) -> None:
        before, started_at = self.engine.stats.steps, time.monotonic()
        try:
            sampling = _sampling(kind, name, value)
            request = make_request(case, [1, 2, 3], 16, sampling=sampling)
            self.engine.prepare(request)
        except (GrammarError, InvalidParameterError) as error:
            self.refusals[case] = str(error)
            self.slots.release()
        else:
            self.requests[case] = request
            self.ready.put(request)
        self.n_steps_beside[case] = self.engine.stats.steps - before
        self.seconds[case] = time.monotonic() - started_at


def test_four_decoding_sequences_go_on_beside_hostile_requests(engine):
    requests = _decoding_requests(engine)
    before, started_at = engine.stats.steps, time.monotonic()
    undisturbed = run(engine, *requests.values())
    seconds_per_step = (time.monotonic() - started_at) / (engine.stats.steps - before)
    siege = Siege(engine)
    submit(engine, *requests.values())
    outputs: Outputs = defaultdict(list)
    gaps = _Gaps(list(requests))
    _run_besieged(engine, siege, outputs, gaps)
    assert not any(outputs[name][-1].finish_reason for name in requests), (
        "all hostile cases were prepared before a request ended"
    )
    while engine.has_work:
        for output in engine.step():
            outputs[output.request_id].append(output)
    engine.check_idle()
    # With attention tiles a prompt step may come between two tokens of a decoding sequence.
    assert gaps.longest <= 2, "a decoding sequence was left out of steps"
    # The threads share the cores with others, so few may be made: a fortieth of those made alone.
    n_alone = siege.seconds[SLOW] / seconds_per_step
    assert siege.n_steps_beside[SLOW] > n_alone / 40, "decoding stopped beside a grammar"
    for name, request in requests.items():
        expected = tokens_of(undisturbed[name])
        prompt = list(request.prompt_tokens)
        assert_same(engine.model, prompt, tokens_of(outputs[name]), expected)
    _assert_refused_or_honoured(engine, siege, outputs)


class _Gaps:
    """The most steps between two tokens of a decoding sequence."""

    def __init__(self, names: list[str]) -> None:
        self.longest = 0
        self._since = dict.fromkeys(names, 0)
        self._started: set[str] = set()

    def count(self, stepped: set[str]) -> None:
        for name in self._since:
            self._since[name] += 1
            if name in self._started:
                self.longest = max(self.longest, self._since[name])
            if name in stepped:
                self._started.add(name)
                self._since[name] = 0


def _run_besieged(engine: Engine, siege: Siege, outputs: Outputs, gaps: _Gaps) -> None:
    """Step until every hostile case was prepared."""
    siege.start()
    running: set[str] = set()
    while running or not siege.is_over:
        while not siege.ready.empty():
            request = siege.ready.get()
            engine.add(request)
            running.add(request.request_id)
        stepped = engine.step()
        gaps.count({output.request_id for output in stepped if output.token_ids})
        for output in stepped:
            outputs[output.request_id].append(output)
            if output.finish_reason is not None:
                running.discard(output.request_id)
                siege.slots.release()


def _assert_refused_or_honoured(engine: Engine, siege: Siege, outputs: Outputs) -> None:
    for kind, name, _ in _hostile():
        case = f"{kind}: {name}"
        if kind == "refused" or (kind == "schema" and name not in HARMLESS):
            assert case in siege.refusals
        elif case not in siege.refusals:
            last = outputs[case][-1]
            if last.error_code != ErrorCode.GRAMMAR_DEAD_END:
                _assert_honoured(engine, siege.requests[case].sampling, outputs[case])


def _assert_honoured(
    engine: Engine, sampling: SamplingParams, outputs: list[RequestOutput]
) -> None:
    """The grammar allows every token, and the end of an answer that ended."""
    triggers = [{"type": each.kind, "value": each.value} for each in sampling.grammar_triggers]
    spec = {"lazy": sampling.grammar_lazy, "triggers": triggers} if triggers else {}
    tokens = tokens_of(outputs)
    assert tokens
    with ShimGrammar(engine.model, sampling.grammar, **spec) as grammar:
        for token in tokens:
            if not engine.tokenizer.is_eog(token):
                assert grammar.allows(token)
                assert grammar.accept(token) == lb_status.LB_OK
        if outputs[-1].finish_reason is FinishReason.STOP:
            assert grammar.is_complete() or grammar.is_waiting()
        else:
            assert outputs[-1].finish_reason is FinishReason.LENGTH


def test_a_grammar_too_ambiguous_to_follow_ends_its_own_request_with_a_grammar_error(engine):
    """Every character doubles the possible parses; the work for a token is limited by a count."""
    sampling = SamplingParams(temperature=0, grammar=TRIED["a ladder of 64 steps"])
    outputs = run(engine, make_request("ladder", [1, 2, 3], 64, sampling=sampling))
    assert outputs["ladder"][-1].finish_reason is FinishReason.ERROR
    assert outputs["ladder"][-1].error_code == "grammar_dead_end"
    assert "too ambiguous" in (outputs["ladder"][-1].error or "")
