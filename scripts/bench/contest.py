"""Runs a scenario: in each round every contestant answers the requests on a new server."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

from make_random_model import random_model

from bench.load import Endpoint, RequestResult, Shot, fire
from bench.neighbour import half_busy_core
from bench.prompts import user, words
from bench.scenarios import Contestant, Scenario
from bench.servers import (
    BUNDLED,
    LayoutMissingError,
    ServerSettings,
    batched_bench_rate,
    engine_rate,
    free_port,
    llama_bench_rate,
    our_server,
    peer_server,
)
from bench.start import forget_file, measure_start, our_start_command, peer_start_command

_BENCH_TOKENS = 192


@dataclass(frozen=True, slots=True)
class Run:
    """The result of one contestant in one round; `value` is the scenario's metric.

    `cpu_seconds` is the CPU time of a server from its start to its end, if that was measured.
    """

    contestant: str
    round_number: int
    value: float
    load_average: float
    results: tuple[RequestResult, ...] = ()
    notes: tuple[str, ...] = ()
    cpu_seconds: float | None = None

    @property
    def errors(self) -> list[str]:
        return [result.error for result in self.results if result.error is not None]


@dataclass(slots=True)
class Contest:
    """All runs of a scenario; `absent` holds the reason for each contestant that cannot run it."""

    scenario: Scenario
    runs: list[Run] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)

    def runs_of(self, contestant: Contestant) -> list[Run]:
        return [run for run in self.runs if run.contestant == contestant.name]

    def values(self, contestant: Contestant) -> list[float]:
        return [run.value for run in self.runs_of(contestant)]


@dataclass(frozen=True, slots=True)
class Bench:
    """What all runs have in common.

    `binaries` is the folder of llama-server and llama-bench; None runs only our server. `only`
    names the contestants to run; empty runs all. With `may_choose_model` scenarios with a model of
    their own use it in place of `model`.
    """

    model: Path
    binaries: Path | None
    log_folder: Path
    threads: int | None = None
    gpu_layers: int | None = None
    max_tokens: int | None = None
    has_neighbour: bool = False
    only: frozenset[str] = frozenset()
    may_choose_model: bool = False

    def measure(self, scenario: Scenario, n_rounds: int, report: Callable[[Run], None]) -> Contest:
        """Run every contestant `n_rounds` times, alternating; call `report` after each run."""
        contest = Contest(scenario)
        for round_number in range(n_rounds):
            for contestant in self._chosen(scenario):
                if contestant.name in contest.absent:
                    continue
                try:
                    run = self._run(scenario, contestant, round_number)
                except LayoutMissingError as error:
                    contest.absent[contestant.name] = str(error)
                    continue
                contest.runs.append(run)
                report(run)
        return contest

    def _chosen(self, scenario: Scenario) -> Iterator[Contestant]:
        for contestant in scenario.contestants:
            is_chosen = not self.only or contestant.name in self.only
            is_ours = contestant.kind in ("ours", "engine")
            if is_chosen and (is_ours or self.binaries is not None):
                yield contestant

    def _run(self, scenario: Scenario, contestant: Contestant, round_number: int) -> Run:
        settings = replace(
            scenario.settings,
            layout=contestant.layout,
            threads=None if contestant.chooses_threads else scenario.threads or self.threads,
            gpu_layers=self.gpu_layers,
        )
        model = self._model(scenario)
        if contestant.kind in ("batched-bench", "engine"):
            rate = self._bare_rate(contestant, model, settings, scenario.shots(round_number))
            return Run(contestant.name, round_number, rate, os.getloadavg()[0])
        has_neighbour = scenario.has_neighbour or self.has_neighbour
        if contestant.kind == "llama-bench":
            assert self.binaries is not None
            with self._neighbour(has_neighbour):
                rate = llama_bench_rate(self.binaries, model, settings, _BENCH_TOKENS)
            return Run(contestant.name, round_number, rate, os.getloadavg()[0])
        shots = self._shots(scenario, round_number)
        if scenario.start is not None:
            with self._neighbour(has_neighbour):
                return self._run_start(
                    scenario, contestant, round_number, model, settings, shots[0]
                )
        with self._server(contestant, model, settings) as endpoint:
            _warm_up(endpoint)
            with self._neighbour(has_neighbour):
                results = fire(endpoint, shots)
        return Run(
            contestant.name,
            round_number,
            scenario.metric.of(results),
            os.getloadavg()[0],
            tuple(results),
            endpoint.notes,
        )

    def _run_start(
        self,
        scenario: Scenario,
        contestant: Contestant,
        round_number: int,
        model: Path,
        settings: ServerSettings,
        shot: Shot,
    ) -> Run:
        port = free_port()
        if contestant.kind == "ours":
            command = our_start_command(model, settings, port, by_name=contestant.is_named)
        else:
            assert self.binaries is not None
            command = peer_start_command(self.binaries, model, settings, port)
        if scenario.start == "cold":
            forget_file(model)
        else:
            model.read_bytes()
        start = measure_start(
            command, port, model, shot, self.log_folder / f"{contestant.name}.log"
        )
        results = (start.result,)
        return Run(
            contestant.name,
            round_number,
            scenario.metric.of(results),
            os.getloadavg()[0],
            results,
            cpu_seconds=start.cpu_seconds,
        )

    def _shots(self, scenario: Scenario, round_number: int) -> list[Shot]:
        shots = scenario.shots(round_number)
        if self.max_tokens is None:
            return shots
        return [replace(shot, max_tokens=self.max_tokens) for shot in shots]

    def _model(self, scenario: Scenario) -> Path:
        if scenario.model is None or not self.may_choose_model:
            return self.model
        return BUNDLED if scenario.model == "bundled" else random_model(scenario.model).absolute()

    def _bare_rate(
        self, contestant: Contestant, model: Path, settings: ServerSettings, shots: list[Shot]
    ) -> float:
        """Tokens per second without a server, of as many sequences of the same lengths."""
        n_prompt = len(shots[0].messages[0]["content"].split())
        n_tokens = self.max_tokens or shots[0].max_tokens
        if contestant.kind == "engine":
            return engine_rate(model, settings, n_prompt, n_tokens)
        assert self.binaries is not None
        return batched_bench_rate(self.binaries, model, settings, n_prompt, n_tokens)

    def _server(
        self, contestant: Contestant, model: Path, settings: ServerSettings
    ) -> AbstractContextManager[Endpoint]:
        log = self.log_folder / f"{contestant.name}.log"
        if contestant.kind == "ours":
            return our_server(model, settings, log)
        assert self.binaries is not None
        return peer_server(self.binaries, model, settings, log)

    @staticmethod
    @contextmanager
    def _neighbour(is_wanted: bool) -> Iterator[None]:
        with half_busy_core() if is_wanted else nullcontext():
            yield


def _warm_up(endpoint: Endpoint) -> None:
    """Let a request pay the one-time costs; no measured prompt shares a prefix with its prompt."""
    fire(endpoint, [Shot((user(words(8, "warm-up")),), 4)])
