"""The results as text and as JSON."""

import dataclasses
import json
import os
import platform
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.contest import Contest, Run
from bench.scenarios import Contestant, Goal
from bench.summary import Spread, ratios


def run_line(run: Run) -> str:
    """One line for one run."""
    failed = f", {len(run.errors)} failed" if run.errors else ""
    return (
        f"  round {run.round_number + 1} {run.contestant}: {run.value:.4g}{failed}"
        f" (load average {run.load_average:.1f})"
    )


def contest_lines(contest: Contest) -> Iterator[str]:
    """A table of the contestants, then the goals, then settings not taken over and errors."""
    scenario, metric = contest.scenario, contest.scenario.metric
    direction = "less is better" if metric.is_better_low else "more is better"
    yield f"{scenario.name}: {scenario.text}"
    yield f"  {metric.name}, {direction}; median (smallest to largest)"
    for contestant in scenario.contestants:
        spread = Spread.of(contest.values(contestant))
        if spread is not None:
            measured = spread.text(metric.unit)
            yield f"  {contestant.name:14}{measured:36}{_details(contest, contestant)}"
    for goal in scenario.goals:
        yield from _goal_lines(contest, goal)
    for name, reason in contest.absent.items():
        yield f"  {name} was not run: {reason}"
    for text, count in _remarks(contest.runs).items():
        yield f"  {text}" + (f" ({count} times)" if count > 1 else "")


def goal_ratio(contest: Contest, goal: Goal) -> tuple[Contestant, Spread] | None:
    """The better of the others and the ratio of ours to it; None if either was not measured."""
    ours = contest.values(goal.ours)
    others = [other for other in goal.others if contest.values(other)]
    if not ours or not others:
        return None
    choose = min if contest.scenario.metric.is_better_low else max
    better = choose(others, key=lambda other: statistics.median(contest.values(other)))
    spread = Spread.of(ratios(ours, contest.values(better)))
    return None if spread is None else (better, spread)


def is_reached(contest: Contest, goal: Goal) -> bool | None:
    """Whether ours finished every request and reached the goal; None without a comparison."""
    if any(run.errors for run in contest.runs_of(goal.ours)):
        return False
    compared = goal_ratio(contest, goal)
    return None if compared is None else goal.is_reached(compared[1].median)


def write_json(path: Path, contests: Sequence[Contest], facts: dict[str, Any]) -> None:
    """Write all results to `path`, with every request."""
    document = {
        "facts": facts | machine_facts(),
        "scenarios": [_contest_document(contest) for contest in contests],
    }
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def machine_facts() -> dict[str, Any]:
    """The machine that the numbers are from."""
    return {"cores": os.cpu_count(), "processor": _processor(), "system": platform.platform()}


def _goal_lines(contest: Contest, goal: Goal) -> Iterator[str]:
    compared = goal_ratio(contest, goal)
    if compared is None:
        return
    better, spread = compared
    limit = ""
    if goal.at_most is not None or goal.at_least is not None:
        bound = f"most {goal.at_most:.3g}" if goal.at_most else f"least {goal.at_least:.3g}"
        verdict = "reached" if is_reached(contest, goal) else "MISSED"
        limit = f"; goal at {bound}: {verdict}"
    yield f"  {goal.ours.name} / {better.name} = {spread.text()}{limit}"


def _details(contest: Contest, contestant: Contestant) -> str:
    spent = [run.cpu_seconds for run in contest.runs_of(contestant) if run.cpu_seconds is not None]
    if (cpu := Spread.of(spent)) is not None:
        return f"CPU time {cpu.text('s')}"
    results = [result for run in contest.runs_of(contestant) for result in run.results]
    if not results:
        return ""
    first = Spread.of([result.ttft for result in results if result.ttft is not None])
    parts = [
        f"first text {first.median:.2f} s" if first else "no text",
        f"gap {max(result.largest_gap for result in results):.2f} s",
        f"cached {statistics.median(result.n_cached for result in results):.0f}"
        f" of {statistics.median(result.n_prompt for result in results):.0f}",
        f"finished {sum(result.error is None for result in results)} of {len(results)}",
    ]
    return ", ".join(parts)


def _remarks(runs: Sequence[Run]) -> Counter[str]:
    remarks = Counter(f"{run.contestant}: {note}" for run in runs for note in run.notes)
    remarks.update(f"{run.contestant} failed: {error}" for run in runs for error in run.errors)
    return remarks


def _contest_document(contest: Contest) -> dict[str, Any]:
    scenario = contest.scenario
    goals = []
    for goal in scenario.goals:
        compared = goal_ratio(contest, goal)
        if compared is not None:
            better, spread = compared
            goals.append(
                {
                    "ours": goal.ours.name,
                    "other": better.name,
                    "ratio": dataclasses.asdict(spread),
                    "at_most": goal.at_most,
                    "at_least": goal.at_least,
                    "reached": is_reached(contest, goal),
                }
            )
    return {
        "name": scenario.name,
        "text": scenario.text,
        "metric": scenario.metric.name,
        "unit": scenario.metric.unit,
        "settings": dataclasses.asdict(scenario.settings),
        "goals": goals,
        "absent": contest.absent,
        "runs": [dataclasses.asdict(run) for run in contest.runs],
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor()
