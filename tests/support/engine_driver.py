"""Creates engines over the fake runner, submits requests and collects the answers."""

from __future__ import annotations

from llamabind.engine.core import EngineCore
from llamabind.engine.shape import EngineShape
from llamabind.kv_cache.host_cache import StateSize
from llamabind.request import FinishReason, GenerationRequest, RequestOutput
from llamabind.speculation.planner import SpeculationPlanner
from tests.support.fake_runner import EOG, N_VOCAB, FakeRunner, FakeVocabulary, next_token


def make_engine(
    n_ctx: int = 64, clock=lambda: 0.0, speculation: SpeculationPlanner | None = None, **fields
) -> tuple[EngineCore, FakeRunner]:
    """An engine whose saved states take a byte for each token; `n_slots` counts unified only."""
    fields = {"n_parallel": 4, "n_slots": 8, "n_batch": 16, **fields}
    if fields.get("kv_unified", True):
        fields["n_cells"] = n_ctx
    else:
        fields["n_slots"] = fields["n_parallel"]
        fields["n_cells"] = n_ctx * fields["n_slots"]
    fields.setdefault("state_size", StateSize(per_token=1))
    is_cuttable = fields.get("is_cuttable", True)
    runner = FakeRunner(fields["n_cells"], fields["n_batch"], is_cuttable=is_cuttable)
    shape = EngineShape(n_ctx=n_ctx, n_vocab=N_VOCAB, **fields)
    engine = EngineCore(runner, FakeVocabulary(), shape, clock=clock, speculation=speculation)
    return engine, runner


def make_request(
    request_id: str, prompt: list[int], max_tokens: int | None = 5, **fields
) -> GenerationRequest:
    return GenerationRequest(
        request_id=request_id, prompt_tokens=tuple(prompt), max_tokens=max_tokens, **fields
    )


def submit(engine: EngineCore, *requests: GenerationRequest) -> None:
    for request in requests:
        engine.prepare(request)
        engine.add(request)


def run(engine: EngineCore, max_steps: int = 10_000) -> dict[str, list[RequestOutput]]:
    outputs: dict[str, list[RequestOutput]] = {}
    for _ in range(max_steps):
        if not engine.has_work:
            engine.check_idle()
            return outputs
        for output in engine.step():
            outputs.setdefault(output.request_id, []).append(output)
    raise AssertionError("the engine never became idle")


def tokens_of(outputs: list[RequestOutput]) -> list[int]:
    return [token for output in outputs for token in output.token_ids]


def expected_answer(
    prompt: list[int],
    max_tokens: int | None,
    n_ctx: int,
    *,
    context_shift: bool = False,
    n_keep: int = 0,
) -> tuple[list[int], FinishReason]:
    """The model's answer to `prompt` alone, computed from its definition."""
    tokens: list[int] = []
    context = list(prompt)
    n_keep = min(len(prompt) if n_keep < 0 else n_keep, n_ctx - 4)
    while max_tokens is None or len(tokens) < max_tokens:
        if len(context) >= n_ctx:
            if not context_shift:
                break
            del context[n_keep : n_keep + (len(context) - n_keep) // 2]
        tokens.append(next_token(context))
        context.append(tokens[-1])
        if tokens[-1] == EOG:
            return tokens, FinishReason.STOP
    return tokens, FinishReason.LENGTH
