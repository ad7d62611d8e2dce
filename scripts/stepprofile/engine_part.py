"""Times the steps of an engine in this process: decode, sampling, scheduling and output."""

from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from llamabind import EngineConfig, GenerationRequest, SamplingParams
from llamabind.engine.engine import Engine, load_engine
from llamabind.generation.answer_masks import AnswerMasks, AnswerSchema
from llamabind.sampling.token_mask import MaskGrammar
from stepprofile.phases import PhaseClock, watch_engine

_WARM_UP_STEPS = 8


@dataclass(frozen=True, slots=True)
class Case:
    """The requests to time: `n_tokens` tokens of each of `n_sequences`, after a random prompt."""

    n_sequences: int
    n_prompt: int = 16
    n_tokens: int = 64
    sampling: SamplingParams = SamplingParams()  # noqa: RUF009 - it is immutable
    schema: dict[str, object] | None = None


@dataclass(frozen=True, slots=True)
class StepTimes:
    """Microseconds of each phase for a generated token; `n_tokens` in `n_steps` were timed."""

    cpu: dict[str, float]
    wall: dict[str, float]
    n_tokens: int
    n_steps: int

    @property
    def beside_decode(self) -> float:
        """Microseconds of CPU time for a token outside the decode."""
        return sum(self.cpu.values()) - self.cpu.get("decode", 0.0)


def time_steps(model: Path, case: Case, n_threads: int | None) -> StepTimes:
    """Load the model, start all sequences, and time the steps in which all of them decode."""
    n_ctx = case.n_sequences * (case.n_prompt + case.n_tokens + _WARM_UP_STEPS + 8)
    config = EngineConfig(
        n_ctx=max(n_ctx, 512), n_parallel=case.n_sequences, n_threads=n_threads, cache_ram_mib=0
    )
    with load_engine(model, config=config) as engine:
        for index in range(case.n_sequences):
            request = _request(engine, case, index)
            engine.prepare(request)
            engine.add(request)
        _start(engine)
        clock = PhaseClock()
        watch_engine(clock, engine)
        return _time(engine, clock, case.n_sequences * case.n_tokens)


def _start(engine: Engine) -> None:
    """Compute the prompts, and some steps that fill caches."""
    while not all(sequence.is_decoding for sequence in engine._live.values()):
        engine.step()
    for _ in range(_WARM_UP_STEPS):
        engine.step()


def _time(engine: Engine, clock: PhaseClock, n_wanted: int) -> StepTimes:
    n_tokens = n_steps = 0
    while n_tokens < n_wanted and engine.has_work:
        n_tokens += sum(len(output.token_ids) for output in engine.step())
        n_steps += 1
    scale = 1e6 / max(n_tokens, 1)
    return StepTimes(
        {phase: seconds * scale for phase, seconds in clock.cpu.items()},
        {phase: seconds * scale for phase, seconds in clock.wall.items()},
        n_tokens,
        n_steps,
    )


def _request(engine: Engine, case: Case, index: int) -> GenerationRequest:
    random = Random(index)
    prompt = tuple(random.randrange(engine.shape.n_vocab) for _ in range(case.n_prompt))
    return GenerationRequest(
        request_id=str(index),
        prompt_tokens=prompt,
        sampling=replace(case.sampling, seed=index, ignore_eos=True),
        mask=_mask(engine, case),
    )


def _mask(engine: Engine, case: Case) -> MaskGrammar | None:
    if case.schema is None:
        return None
    return AnswerMasks(engine.tokenizer).of_text(AnswerSchema(case.schema, is_lenient=False))[0]
