"""The checks: each is a method that prints its measurements and returns a result."""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.servers import ServerSettings, our_server
from llama_source import ROOT

from gpucheck.answers import PROMPTS, TOLERANCE, Comparison, Token, ask_alone, ask_together, compare
from gpucheck.devices import NO_GPU
from gpucheck.gap import GapReport, from_json, proposal, report_lines
from gpucheck.report import Result

_ALL_LAYERS = -1
_SERVER = ServerSettings(n_ctx=8192, n_parallel=len(PROMPTS))
_GOODBYE_SECONDS = 15.0  # kept for stopping servers and for the summary


class CheckFailedError(Exception):
    """A check could not run; the message says why."""


@dataclass(frozen=True, slots=True)
class Setup:
    """The models and programs to check. With `is_cpu` the CPU is used in place of the GPU."""

    models: list[Path]
    binaries: Path | None  # folder of llama-server
    folder: Path
    deadline: float  # on time.monotonic()'s clock
    is_cpu: bool
    rounds: int

    @property
    def gpu_layers(self) -> int:
        return 0 if self.is_cpu else _ALL_LAYERS

    @property
    def seconds_left(self) -> float:
        return max(self.deadline - time.monotonic() - _GOODBYE_SECONDS, 1.0)


class Checks:
    """All checks of one setup."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup

    def answers(self) -> Result:
        """Compare greedy answers of each model, one by one and all at once, with the CPU's one
        by one.
        """
        faults: list[str] = []
        comparisons: list[Comparison] = []
        for model in self._setup.models:
            reference, _ = self._ask(model, gpu_layers=0, environment=NO_GPU)
            alone, together = self._ask(model, gpu_layers=self._setup.gpu_layers)
            for name, answers in (("alone", alone), ("together", together)):
                found = [compare(*pair) for pair in zip(answers, reference, strict=True)]
                comparisons += found
                for line in answer_lines(f"{model.name}, {name}", found):
                    print(line, flush=True)
                faults += [f"{model.name}: {c.fault}" for c in found if c.fault]
        return answers_result(comparisons, faults)

    def _ask(
        self, model: Path, gpu_layers: int, environment: dict[str, str] | Any = None
    ) -> tuple[list[list[Token]], list[list[Token]]]:
        settings = ServerSettings(_SERVER.n_ctx, _SERVER.n_parallel, gpu_layers=gpu_layers)
        log = self._setup.folder / "server.log"
        with our_server(model, settings, log, environment) as endpoint:
            if endpoint.notes:
                raise CheckFailedError(f"{model.name}: {'; '.join(endpoint.notes)}")
            return ask_alone(endpoint), ask_together(endpoint)

    def gap(self) -> Result:
        """Time the steps of the large model and propose LONGEST_GAP_ON_GPU."""
        today = _todays_gap()
        output = self._run(
            *("gpucheck.gap", "--model", str(self._setup.models[-1])),
            *("--gpu-layers", str(self._setup.gpu_layers)),
        )
        report = from_json(output.splitlines()[-1])
        print("\n".join(report_lines(report, today)), flush=True)
        return gap_result(report, today)

    def benchmark(self) -> Result:
        """Run `./scripts/benchmark gpu` with the given binaries."""
        peers, file = self._setup.binaries, self._setup.folder / "benchmark.json"
        command = [
            *(sys.executable, "-m", "bench", "gpu", "--rounds", str(self._setup.rounds)),
            *("--gpu-layers", str(self._setup.gpu_layers), "--json", str(file)),
            *("--model", str(self._setup.models[-1])),
            *(() if peers is None else ("--peers", str(peers))),
        ]
        process = subprocess.Popen(command, cwd=ROOT)
        try:
            process.wait(self._setup.seconds_left)
            is_complete = process.returncode in (0, 1)
        except subprocess.TimeoutExpired:
            process.terminate()  # on SIGTERM it stops its servers and writes what it has
            process.wait()
            is_complete = False
        document = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
        return benchmark_result(document, is_complete=is_complete)

    def _run(self, *module: str) -> str:
        result = subprocess.run(
            [sys.executable, "-m", *module],
            stdout=subprocess.PIPE,
            text=True,
            timeout=self._setup.seconds_left,
            check=False,
        )
        if result.returncode != 0:
            raise CheckFailedError(f"{module[0]} ended with exit status {result.returncode}")
        return result.stdout


def answer_lines(title: str, comparisons: Sequence[Comparison]) -> list[str]:
    """The lines for one set of answers, with all near ties and faults."""
    same = sum(c.n_same for c in comparisons)
    difference = max((c.difference for c in comparisons), default=0.0)
    lines = [f"{title}: {same} tokens the same, log-probabilities at most {difference:.4f} apart"]
    lines += [f"  near tie: {c.near_tie}" for c in comparisons if c.near_tie]
    return lines + [f"  FAULT: {c.fault}" for c in comparisons if c.fault]


def answers_result(comparisons: Sequence[Comparison], faults: Sequence[str]) -> Result:
    """Passed if answers were compared and no difference is larger than rounding."""
    difference = max((c.difference for c in comparisons), default=0.0)
    numbers = {
        "answers": len(comparisons),
        "same_tokens": sum(c.n_same for c in comparisons),
        "largest_difference": difference,
        "tolerance": TOLERANCE,
        "near_ties": sum(c.near_tie is not None for c in comparisons),
        "faults": list(faults),
    }
    if faults:
        return Result(
            "answers",
            is_good=False,
            text=f"{len(faults)} of {len(comparisons)} answers are not the CPU's: {faults[0]}",
            numbers=numbers,
        )
    text = (
        f"{numbers['same_tokens']} tokens of {len(comparisons)} answers are the CPU's, their "
        f"log-probabilities at most {difference:.4f} apart; {numbers['near_ties']} near ties"
    )
    return Result("answers", is_good=bool(numbers["same_tokens"]), text=text, numbers=numbers)


def gap_result(report: GapReport, today: float) -> Result:
    """A measurement, so it always passes."""
    value = proposal(report)
    numbers = {"proposal": value, "today": today, "model": report.model}
    text = f"proposal: LONGEST_GAP_ON_GPU = {value} (today {today})"
    return Result("gap", is_good=True, text=text, numbers=numbers)


def benchmark_result(document: dict[str, Any] | None, *, is_complete: bool) -> Result:
    """Passed if the benchmark finished and no goal was missed."""
    if document is None:
        return Result(
            "benchmark", is_good=False, text="the benchmark did not run; the error is above"
        )
    goals = [
        (scenario["name"], goal) for scenario in document["scenarios"] for goal in scenario["goals"]
    ]
    missed = [
        f"{name}: {goal['ours']} / {goal['other']} = {goal['ratio']['median']:.2f}"
        for name, goal in goals
        if goal["reached"] is False
    ]
    names = ", ".join(scenario["name"] for scenario in document["scenarios"]) or "nothing"
    parts = [f"measured {names}"]
    parts += [] if is_complete else ["stopped early: out of time, or an error above"]
    parts += [f"goals missed: {'; '.join(missed)}"] if missed else []
    parts += [] if missed or not goals else ["no goal missed"]
    parts += [] if goals else ["nothing to compare with: no llama-server was given"]
    is_good = is_complete and not missed
    return Result("benchmark", is_good=is_good, text="; ".join(parts), numbers=document)


def _todays_gap() -> float:
    # Imported here because llamabind needs packages that the other checks do not.
    from llamabind.scheduling.step_budget import LONGEST_GAP_ON_GPU

    return LONGEST_GAP_ON_GPU
