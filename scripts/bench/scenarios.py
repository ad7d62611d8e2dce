"""The scenarios: requests, settings of the servers, metric and goals of each."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bench.load import RequestResult, Shot
from bench.prompts import system, user, words
from bench.servers import ServerSettings


@dataclass(frozen=True, slots=True)
class Contestant:
    """A program to measure: `kind` is "ours", "peer" (llama-server), "llama-bench", "batched-bench"
    (llama-batched-bench, llama.cpp's bare decode loop) or "engine" (ours, without a server).

    `layout` is "unified", "split" or None for the program's default. With `chooses_threads` the
    program gets no number of compute threads. With `is_named` its first request names the model,
    and loads it; otherwise the program is started with the model, where a scenario measures that.
    """

    name: str
    kind: str
    layout: str | None = None
    chooses_threads: bool = False
    is_named: bool = False


OURS = Contestant("ours", "ours")
OURS_AUTO = Contestant("ours-auto", "ours", chooses_threads=True)
OURS_UNIFIED = Contestant("ours-unified", "ours", "unified")
OURS_SPLIT = Contestant("ours-split", "ours", "split")
PEER = Contestant("peer", "peer")
PEER_UNIFIED = Contestant("peer-unified", "peer", "unified")
PEER_SPLIT = Contestant("peer-split", "peer", "split")
OURS_NAMED = Contestant("ours-named", "ours", is_named=True)
LLAMA_BENCH = Contestant("llama-bench", "llama-bench")
BATCHED_BENCH = Contestant("batched-bench", "batched-bench", "split")
ENGINE = Contestant("engine", "engine")
BOTH_PEERS = (PEER_UNIFIED, PEER_SPLIT)


@dataclass(frozen=True, slots=True)
class Metric:
    """The number that a scenario compares."""

    name: str
    unit: str
    of: Callable[[Sequence[RequestResult]], float]
    is_better_low: bool


def wall_seconds(results: Sequence[RequestResult]) -> float:
    """From the first request's start to the last one's end."""
    return max(r.ended for r in results) - min(r.started for r in results)


WALL = Metric("time to finish all", "s", wall_seconds, is_better_low=True)
THROUGHPUT = Metric(
    "throughput",
    "tokens/s",
    lambda results: sum(r.n_tokens for r in results) / wall_seconds(results),
    is_better_low=False,
)
DECODE_RATE = Metric(
    "decode rate", "tokens/s", lambda results: results[0].tokens_per_second, is_better_low=False
)
DECODE_GAP = Metric(
    "largest gap between tokens", "s", lambda results: results[0].largest_gap, is_better_low=True
)
FIRST_TEXT = Metric(
    "first text after the start",
    "s",
    lambda results: results[0].ttft or float("inf"),
    is_better_low=True,
)
FINISHED = Metric(
    "finished requests",
    "",
    lambda results: sum(r.error is None for r in results),
    is_better_low=False,
)


@dataclass(frozen=True, slots=True)
class Goal:
    """Limit for the ratio of ours to the better of `others`; without one it is only printed."""

    ours: Contestant
    others: tuple[Contestant, ...]
    at_most: float | None = None
    at_least: float | None = None

    def is_reached(self, ratio: float) -> bool | None:
        """None without a limit."""
        if self.at_most is not None:
            return ratio <= self.at_most
        return None if self.at_least is None else ratio >= self.at_least


@dataclass(frozen=True, slots=True)
class Scenario:
    """`shots(round)` returns a round's requests: the same for all contestants, new each round.

    `model` is measured unless the user names one: a shape of make_random_model, or "bundled".
    `threads` replaces the user's number of compute threads.
    `start` "warm" or "cold" measures from the start of a server's process, with the model's file in
    the page cache or not; otherwise servers are loaded and warm.
    """

    name: str
    text: str
    settings: ServerSettings
    metric: Metric
    goals: tuple[Goal, ...]
    shots: Callable[[int], list[Shot]]
    has_neighbour: bool = False
    peer_may_fail: bool = False
    model: str | None = None
    threads: int | None = None
    start: str | None = None

    @property
    def contestants(self) -> list[Contestant]:
        """All contestants that a goal names, ours first."""
        named = [goal.ours for goal in self.goals]
        named += [other for goal in self.goals for other in goal.others]
        return list(dict.fromkeys(named))


def _shared_prefix(round_number: int) -> list[Shot]:
    instructions = system(words(1200, "shared", round_number))
    return [
        Shot((instructions, user(words(16, "question", round_number, i))), 32) for i in range(16)
    ]


def _distinct(n: int, n_words: int, max_tokens: int) -> Callable[[int], list[Shot]]:
    def shots(round_number: int) -> list[Shot]:
        texts = (words(n_words, "distinct", round_number, i) for i in range(n))
        return [Shot((user(text),), max_tokens) for text in texts]

    return shots


def _stall(n_words: int) -> Callable[[int], list[Shot]]:
    def shots(round_number: int) -> list[Shot]:
        decoding = Shot((user(words(32, "stream", round_number)),), 512)
        intruder = Shot((user(words(n_words, "long", round_number)),), 16, after_events=16)
        return [decoding, intruder]

    return shots


def _distinct_scenario(n: int) -> Scenario:
    n_parallel = max(n, 16)
    return Scenario(
        name=f"distinct-{n}",
        text=f"{n} distinct prompts of 100 tokens at once, 64 tokens each",
        settings=ServerSettings(n_ctx=512 * n_parallel, n_parallel=n_parallel),
        metric=THROUGHPUT,
        goals=(
            Goal(OURS_UNIFIED, (PEER_UNIFIED,), at_least=1.0),
            Goal(OURS_SPLIT, (PEER_SPLIT,), at_least=1.0),
            Goal(OURS_UNIFIED, BOTH_PEERS),
        ),
        shots=_distinct(n, 100, 64),
    )


_SINGLE = Scenario(
    name="single",
    text="one request: a prompt of 32 tokens, 192 tokens",
    settings=ServerSettings(n_ctx=4096, n_parallel=4),
    metric=DECODE_RATE,
    goals=(
        Goal(OURS, (PEER_UNIFIED,), at_least=0.97),
        Goal(OURS, (LLAMA_BENCH,), at_least=0.95),
        Goal(OURS_AUTO, (PEER_UNIFIED,)),
    ),
    shots=_distinct(1, 32, 192),
)


def _tiny(n: int, *, is_streamed: bool) -> Scenario:
    """A model that decodes in no time, on one thread: what remains is the cost of all else."""
    kind = "streamed" if is_streamed else "in one piece"
    goals = [Goal(OURS, BOTH_PEERS, at_least=2.5 if n == 64 else None)]
    if is_streamed:
        goals.append(Goal(ENGINE, (BATCHED_BENCH,), at_least=1.0 if n == 64 else None))
    return Scenario(
        name=f"tiny-{n}" if is_streamed else f"tiny-{n}-whole",
        text=f"the bundled model on one thread: {n} prompts of 16 tokens, 128 tokens {kind}",
        settings=ServerSettings(n_ctx=256 * max(n, 4), n_parallel=n),
        metric=THROUGHPUT,
        goals=tuple(goals),
        shots=_with(_distinct(n, 16, 128), is_streamed=is_streamed),
        model="bundled",
        threads=1,
    )


_SCHEMA = {
    "type": "json_schema",
    "json_schema": {"name": "answer", "schema": {"type": "string", "minLength": 4000}},
}
_NUCLEUS: dict[str, Any] = {"temperature": 0.8, "top_k": 40, "top_p": 0.9, "min_p": 0.05}
_LARGE_VOCABULARY: dict[str, dict[str, Any]] = {
    "": _NUCLEUS,
    "-schema": {**_NUCLEUS, "response_format": _SCHEMA},
    "-min-p": {"temperature": 0.8, "top_k": 0, "top_p": 1.0, "min_p": 0.05},
    "-top-p": {"temperature": 0.8, "top_k": 0, "top_p": 0.9, "min_p": 0.0},
}


def _large_vocabulary(n: int, suffix: str) -> Scenario:
    fields = _LARGE_VOCABULARY[suffix]
    names = ", ".join(f"{name} {value}" for name, value in fields.items() if value is not _SCHEMA)
    return Scenario(
        name=f"large-vocabulary-{n}{suffix}",
        text=f"128,256 tokens in the vocabulary: {n} prompts of 32 tokens, 32 tokens each; {names}"
        + (", with a JSON schema" if "response_format" in fields else ""),
        settings=ServerSettings(n_ctx=256 * n, n_parallel=n),
        metric=THROUGHPUT,
        goals=(Goal(OURS, BOTH_PEERS, at_least=2.3 if suffix == "" else None),),
        shots=_with(_distinct(n, 32, 32), fields=tuple(fields.items())),
        model="135m-128k",
    )


def _with(shots: Callable[[int], list[Shot]], **changes: Any) -> Callable[[int], list[Shot]]:
    """The same shots with other values of some attributes."""
    return lambda round_number: [replace(shot, **changes) for shot in shots(round_number)]


def _all() -> Iterator[Scenario]:
    yield Scenario(
        name="shared-prefix",
        text="16 chats that share a system prompt of 1,200 tokens, 32 tokens each",
        settings=ServerSettings(n_ctx=32768, n_parallel=16),
        metric=WALL,
        goals=(Goal(OURS, BOTH_PEERS, at_most=1 / 6),),
        shots=_shared_prefix,
    )
    for n in (1, 4, 8, 16, 32, 64):
        yield _distinct_scenario(n)
    yield _SINGLE
    yield replace(
        _SINGLE,
        name="neighbour",
        text=f"{_SINGLE.text}, while another process keeps a core half busy",
        has_neighbour=True,
    )
    yield Scenario(
        name="long-distinct",
        text="8 distinct prompts of 1,000 tokens at once, 32 tokens each",
        settings=ServerSettings(n_ctx=16384, n_parallel=8),
        metric=WALL,
        goals=(
            Goal(OURS_UNIFIED, (PEER_UNIFIED,), at_most=1.0),
            Goal(OURS_SPLIT, (PEER_SPLIT,), at_most=1.0),
            Goal(OURS, BOTH_PEERS),
        ),
        shots=_distinct(8, 1000, 32),
    )
    yield Scenario(
        name="pressure",
        text="16 distinct prompts of 256 tokens, 256 tokens each, with KV cells for half of them",
        settings=ServerSettings(n_ctx=4096, n_parallel=16),
        metric=FINISHED,
        goals=(Goal(OURS, (PEER_UNIFIED,), at_least=1.0),),
        shots=_distinct(16, 256, 256),
        peer_may_fail=True,
    )
    yield Scenario(
        name="stall",
        text="a prompt of 4,000 tokens arrives while a sequence decodes; 4 slots of 8,192 tokens",
        settings=ServerSettings(n_ctx=32768, n_parallel=4),
        metric=DECODE_GAP,
        goals=(Goal(OURS, (PEER_SPLIT,), at_most=0.1),),
        shots=_stall(4000),
    )
    for n in (1, 16, 64, 128):
        yield _tiny(n, is_streamed=True)
        yield _tiny(n, is_streamed=False)
    for suffix in _LARGE_VOCABULARY:
        yield _large_vocabulary(16, suffix)
        yield _large_vocabulary(64, suffix)
    for kind, where in (("warm", "in memory"), ("cold", "on the disk")):
        yield Scenario(
            name=f"start-{kind}",
            text=f"start the server with the model's file {where}, and ask once: 16 tokens",
            settings=ServerSettings(n_ctx=8192, n_parallel=4),
            metric=FIRST_TEXT,
            goals=(
                Goal(OURS, (PEER,), at_most=1.2),
                Goal(OURS_NAMED, (PEER,), at_most=1.5),
            ),
            shots=_distinct(1, 8, 16),
            start=kind,
        )
    # No limit: nothing has been measured yet that says which gap is good on a GPU.
    yield Scenario(
        name="gpu-stall",
        text="a prompt of 16,000 tokens arrives while a sequence decodes; 4 slots of 20,480 tokens",
        settings=ServerSettings(n_ctx=81920, n_parallel=4),
        metric=DECODE_GAP,
        goals=(Goal(OURS, (PEER_UNIFIED, PEER_SPLIT)),),
        shots=_stall(16000),
    )


SCENARIOS = {scenario.name: scenario for scenario in _all()}

GROUPS = {
    "start": ("start-warm", "start-cold"),
    "distinct": ("distinct-1", "distinct-4", "distinct-16"),
    "tiny": tuple(f"tiny-{n}{kind}" for n in (1, 16, 64, 128) for kind in ("", "-whole")),
    "large-vocabulary": tuple(
        f"large-vocabulary-{n}{suffix}" for n in (16, 64) for suffix in _LARGE_VOCABULARY
    ),
    # Each run starts a server, which takes seconds on a GPU: two rounds fit into scripts/gpu_check.
    "gpu": ("single", "distinct-8", "distinct-64", "gpu-stall"),
    "all": (
        *("shared-prefix", "distinct-1", "distinct-4", "distinct-16", "single", "neighbour"),
        *("long-distinct", "pressure", "stall", "start-warm", "start-cold"),
    ),
}


def find_scenarios(names: Sequence[str]) -> list[Scenario]:
    """The scenarios of these names and groups, each once. Raises KeyError for an unknown name."""
    found = [name for given in names for name in GROUPS.get(given, (given,))]
    return [SCENARIOS[name] for name in dict.fromkeys(found)]
