"""Runs a scenario: every contestant in turn, round after round, each on a fresh server."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.load import Endpoint, RequestResult, Shot, fire
from bench.neighbour import half_busy_core
from bench.prompts import user, words
from bench.scenarios import Contestant, Scenario
from bench.servers import (
    LayoutMissingError,
    ServerSettings,
    llama_bench_rate,
    our_server,
    peer_server,
)

_BENCH_TOKENS = 192


@dataclass(frozen=True, slots=True)
class Run:
    """One contestant's one round. `value` is the scenario's metric."""

    contestant: str
    round_number: int
    value: float
    load_average: float
    results: tuple[RequestResult, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def errors(self) -> list[str]:
        return [result.error for result in self.results if result.error is not None]


@dataclass(slots=True)
class Contest:
    """All runs of a scenario, and who could not take part."""

    scenario: Scenario
    runs: list[Run] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)

    def runs_of(self, contestant: Contestant) -> list[Run]:
        return [run for run in self.runs if run.contestant == contestant.name]

    def values(self, contestant: Contestant) -> list[float]:
        return [run.value for run in self.runs_of(contestant)]


@dataclass(frozen=True, slots=True)
class Ring:
    """Where contests take place. `binaries` holds llama-server and llama-bench; None is without
    them. `only` are the names of those who take part, if not all do.
    """

    model: Path
    binaries: Path | None
    log_folder: Path
    threads: int | None = None
    gpu_layers: int | None = None
    max_tokens: int | None = None
    has_neighbour: bool = False
    only: frozenset[str] = frozenset()

    def hold(self, scenario: Scenario, n_rounds: int, tell: Callable[[Run], None]) -> Contest:
        """Measure everybody `n_rounds` times, alternating; `tell` hears of each run."""
        contest = Contest(scenario)
        for round_number in range(n_rounds):
            for contestant in self._present(scenario):
                if contestant.name in contest.absent:
                    continue
                try:
                    run = self._run(scenario, contestant, round_number)
                except LayoutMissingError as error:
                    contest.absent[contestant.name] = str(error)
                    continue
                contest.runs.append(run)
                tell(run)
        return contest

    def _present(self, scenario: Scenario) -> Iterator[Contestant]:
        for contestant in scenario.contestants:
            is_chosen = not self.only or contestant.name in self.only
            if is_chosen and (contestant.kind == "ours" or self.binaries is not None):
                yield contestant

    def _run(self, scenario: Scenario, contestant: Contestant, round_number: int) -> Run:
        settings = replace(
            scenario.settings,
            layout=contestant.layout,
            threads=None if contestant.chooses_threads else self.threads,
            gpu_layers=self.gpu_layers,
        )
        is_disturbed = scenario.has_neighbour or self.has_neighbour
        if contestant.kind == "llama-bench":
            assert self.binaries is not None
            with self._neighbour(is_disturbed):
                rate = llama_bench_rate(self.binaries, self.model, settings, _BENCH_TOKENS)
            return Run(contestant.name, round_number, rate, os.getloadavg()[0])
        shots = self._shots(scenario, round_number)
        with self._server(contestant, settings) as endpoint:
            _warm_up(endpoint)
            with self._neighbour(is_disturbed):
                results = fire(endpoint, shots)
        return Run(
            contestant.name,
            round_number,
            scenario.metric.of(results),
            os.getloadavg()[0],
            tuple(results),
            endpoint.notes,
        )

    def _shots(self, scenario: Scenario, round_number: int) -> list[Shot]:
        shots = scenario.shots(round_number)
        if self.max_tokens is None:
            return shots
        return [replace(shot, max_tokens=self.max_tokens) for shot in shots]

    def _server(
        self, contestant: Contestant, settings: ServerSettings
    ) -> AbstractContextManager[Endpoint]:
        log = self.log_folder / f"{contestant.name}.log"
        if contestant.kind == "ours":
            return our_server(self.model, settings, log)
        assert self.binaries is not None
        return peer_server(self.binaries, self.model, settings, log)

    @staticmethod
    @contextmanager
    def _neighbour(is_there: bool) -> Iterator[None]:
        with half_busy_core() if is_there else nullcontext():
            yield


def _warm_up(endpoint: Endpoint) -> None:
    """The first request pays for what is made once; its prompt is nobody's prefix."""
    fire(endpoint, [Shot((user(words(8, "warm-up")),), 4)])
