"""Hostile grammars, triggers and schemas beside running streams, which do not notice."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator
from typing import Any

import pytest
from engine_runs import (
    ENDLESS,
    Outputs,
    assert_same,
    make_request,
    run,
    submit,
    tiny_engine,
    tokens_of,
)
from hostile_grammars import PATTERNS, REFUSED, SCHEMAS, TRIED

from llamabind.engine import Engine
from llamabind.errors import GrammarError, InvalidParameterError
from llamabind.json_schema import json_schema_to_grammar
from llamabind.request import ErrorCode, FinishReason, GenerationRequest
from llamabind.sampling_params import GrammarTrigger, SamplingParams

pytestmark = pytest.mark.native

N_STREAMS = 4
N_TOKENS = 400


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with tiny_engine(n_ctx=4096, n_parallel=8) as engine:
        yield engine


def _streams(engine: Engine) -> dict[str, GenerationRequest]:
    questions = ["Tell me a story", "Count to ten", "What is the sky?", "Who are you?"]
    return {
        f"stream{i}": make_request(
            f"stream{i}", engine.tokenizer.encode(text), N_TOKENS, sampling=ENDLESS
        )
        for i, text in enumerate(questions)
    }


def _sampling(kind: str, name: str, value: Any) -> SamplingParams:
    """What a client would send; raises GrammarError or InvalidParameterError."""
    if kind == "schema":
        return SamplingParams(temperature=0, grammar=json_schema_to_grammar(value))
    if kind == "pattern":
        triggers = (GrammarTrigger("pattern", value),)
        grammar = 'root ::= "a"+'
        return SamplingParams(
            temperature=0, grammar=grammar, grammar_lazy=True, grammar_triggers=triggers
        )
    return SamplingParams(temperature=0, grammar=value)


def _hostile() -> deque[tuple[str, str, Any]]:
    """Every case, by kind and name."""
    return deque(
        [("refused", name, grammar) for name, (grammar, _) in REFUSED.items()]
        + [("tried", name, grammar) for name, grammar in TRIED.items()]
        + [("pattern", name, pattern) for name, pattern in PATTERNS.items()]
        + [("schema", name, schema) for name, schema in SCHEMAS.items()]
    )


class Siege:
    """Keeps four hostile requests beside the streams until every case has had its turn."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.cases = _hostile()
        self.refusals: dict[str, str] = {}
        self.running: set[str] = set()

    def send(self) -> None:
        while self.cases and len(self.running) < 4:
            kind, name, value = self.cases.popleft()
            case = f"{kind}: {name}"
            try:
                sampling = _sampling(kind, name, value)
                submit(self.engine, make_request(case, [1, 2, 3], 16, sampling=sampling))
            except (GrammarError, InvalidParameterError) as error:
                self.refusals[case] = str(error)
            else:
                self.running.add(case)


def test_four_streams_get_their_token_in_every_step_whatever_the_others_ask_for(engine):
    requests = _streams(engine)
    undisturbed = run(engine, *requests.values())
    siege = Siege(engine)
    submit(engine, *requests.values())
    outputs: Outputs = defaultdict(list)
    while siege.cases or siege.running:
        for output in engine.step():
            outputs[output.request_id].append(output)
            if output.finish_reason is not None:
                siege.running.discard(output.request_id)
        started = [name for name in requests if name in outputs]
        if len(started) == N_STREAMS:
            n_tokens = [len(tokens_of(outputs[name])) for name in requests]
            assert max(n_tokens) - min(n_tokens) <= 1, "a stream was left out of a step"
            siege.send()
    assert not any(outputs[name][-1].finish_reason for name in requests), "the siege was longer"
    while engine.has_work:
        for output in engine.step():
            outputs[output.request_id].append(output)
    engine.check_idle()
    for name, request in requests.items():
        expected = tokens_of(undisturbed[name])
        prompt = list(request.prompt_tokens)
        assert_same(engine.model, prompt, tokens_of(outputs[name]), expected)
    _assert_refused_or_honoured(siege, outputs)


def _assert_refused_or_honoured(siege: Siege, outputs: Outputs) -> None:
    for kind, name, _ in _hostile():
        case = f"{kind}: {name}"
        if kind in ("refused", "schema"):
            assert case in siege.refusals
        elif case not in siege.refusals:
            last = outputs[case][-1]
            is_dead_end = last.error_code == ErrorCode.GRAMMAR_DEAD_END
            assert is_dead_end or last.finish_reason in (FinishReason.STOP, FinishReason.LENGTH)


def test_a_grammar_too_ambiguous_to_follow_ends_its_own_request_with_a_grammar_error(engine):
    """Every character doubles the ways to go on; the work for a token is bounded by count."""
    sampling = SamplingParams(temperature=0, grammar=TRIED["a ladder of 64 steps"])
    outputs = run(engine, make_request("ladder", [1, 2, 3], 64, sampling=sampling))
    assert outputs["ladder"][-1].finish_reason is FinishReason.ERROR
    assert outputs["ladder"][-1].error_code == "grammar_dead_end"
    assert "too ambiguous" in (outputs["ladder"][-1].error or "")
