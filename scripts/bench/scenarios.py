"""The scenarios: requests, settings of the servers, metric and goals of each."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from bench.load import RequestResult, Shot
from bench.prompts import system, user, words
from bench.servers import ServerSettings


@dataclass(frozen=True, slots=True)
class Contestant:
    """A program to measure: `kind` is "ours", "peer" (llama-server) or "llama-bench".

    `layout` is "unified", "split" or None for the program's default. With `chooses_threads` the
    program gets no number of compute threads.
    """

    name: str
    kind: str
    layout: str | None = None
    chooses_threads: bool = False


OURS = Contestant("ours", "ours")
OURS_AUTO = Contestant("ours-auto", "ours", chooses_threads=True)
OURS_UNIFIED = Contestant("ours-unified", "ours", "unified")
OURS_SPLIT = Contestant("ours-split", "ours", "split")
PEER_UNIFIED = Contestant("peer-unified", "peer", "unified")
PEER_SPLIT = Contestant("peer-split", "peer", "split")
LLAMA_BENCH = Contestant("llama-bench", "llama-bench")
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
    """`shots(round)` returns a round's requests: the same for all contestants, new each round."""

    name: str
    text: str
    settings: ServerSettings
    metric: Metric
    goals: tuple[Goal, ...]
    shots: Callable[[int], list[Shot]]
    has_neighbour: bool = False
    peer_may_fail: bool = False

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
        goals=(Goal(OURS, (PEER_SPLIT,), at_most=0.2),),
        shots=_stall(4000),
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
    "distinct": ("distinct-1", "distinct-4", "distinct-16"),
    # Each run starts a server, which takes seconds on a GPU: two rounds fit into scripts/gpu_check.
    "gpu": ("single", "distinct-8", "distinct-64", "gpu-stall"),
    "all": (
        *("shared-prefix", "distinct-1", "distinct-4", "distinct-16", "single", "neighbour"),
        *("long-distinct", "pressure", "stall"),
    ),
}


def find_scenarios(names: Sequence[str]) -> list[Scenario]:
    """The scenarios of these names and groups, each once. Raises KeyError for an unknown name."""
    found = [name for given in names for name in GROUPS.get(given, (given,))]
    return [SCENARIOS[name] for name in dict.fromkeys(found)]
