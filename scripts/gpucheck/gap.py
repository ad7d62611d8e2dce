"""Measures steps by their number of prompt tokens, to choose LONGEST_GAP_ON_GPU.

    PYTHONPATH=scripts:. python -m gpucheck.gap --model FILE [--gpu-layers -1]

A step with prompt tokens makes the decoding sequences wait. Larger steps compute prompts faster,
up to the size that keeps the device fully busy; a gap that allows more than this size gains
nothing. So the constant should be the time of the smallest step that computes prompts at nine
tenths of the best rate, with the largest model that the device is meant for.
"""

import argparse
import json
import math
from dataclasses import dataclass
from pathlib import Path

_SIZES = (16, 32, 64, 128, 256, 512, 1024, 2032)
_ENOUGH = 0.9
_ROUNDING = 0.005  # seconds


@dataclass(frozen=True, slots=True)
class Step:
    """A step of `n_prompt` prompt tokens and the next token of 15 decoding sequences."""

    n_prompt: int
    seconds: float

    @property
    def rate(self) -> float:
        """Prompt tokens per second."""
        return self.n_prompt / self.seconds


@dataclass(frozen=True, slots=True)
class GapReport:
    """One model's steps; `decode_seconds` is the time of a step of 16 sequences, no prompt."""

    model: str
    decode_seconds: float
    steps: tuple[Step, ...]

    @property
    def best_rate(self) -> float:
        return max(step.rate for step in self.steps)

    @property
    def enough(self) -> Step:
        """The smallest step at nine tenths of the best rate."""
        return next(step for step in self.steps if step.rate >= _ENOUGH * self.best_rate)

    def within(self, seconds: float) -> Step | None:
        """The largest step that takes at most `seconds`."""
        fitting = [step for step in self.steps if step.seconds <= seconds]
        return max(fitting, key=lambda step: step.n_prompt, default=None)


def proposal(report: GapReport) -> float:
    """The smallest constant (seconds, rounded up) that does not slow this model's prompts."""
    return round(math.ceil(report.enough.seconds / _ROUNDING - 1e-9) * _ROUNDING, 3)


def report_lines(report: GapReport, today: float) -> list[str]:
    """One model's table, and the steps that today's constant (`today`, seconds) allows."""
    decoding = 1e3 * report.decode_seconds
    lines = [
        f"{report.model}: a step of 16 decoding sequences takes {decoding:.2f} ms",
        "  prompt tokens in a step      ms   tokens/s  of the best",
    ]
    for step in report.steps:
        share = step.rate / report.best_rate
        lines.append(
            f"  {step.n_prompt:23} {1e3 * step.seconds:7.2f} {step.rate:10.0f} {share:12.0%}"
        )
    allowed = report.within(today)
    if allowed is None:
        lines.append(f"  today's {today} s is less than the time of the smallest step")
    else:
        share = allowed.rate / report.best_rate
        lines.append(
            f"  today's {today} s allow steps of {allowed.n_prompt}, {share:.0%} of the best rate"
        )
    lines.append(f"  {_ENOUGH:.0%} need {report.enough.n_prompt}: {report.enough.seconds:.4f} s")
    return lines


def to_json(report: GapReport) -> str:
    steps = [[step.n_prompt, step.seconds] for step in report.steps]
    document = {"model": report.model, "decode_seconds": report.decode_seconds, "steps": steps}
    return json.dumps(document)


def from_json(text: str) -> GapReport:
    document = json.loads(text)
    steps = tuple(Step(n, seconds) for n, seconds in document["steps"])
    return GapReport(document["model"], document["decode_seconds"], steps)


def measure(path: Path, gpu_layers: int, n_threads: int) -> GapReport:
    """Time the steps on a context without an engine."""
    # Imported here because they load the native library; the rest of this file needs none.
    from measure_layouts import N_PROMPT, N_SEQUENCES, open_bench

    from llamabind import Model, ModelParams

    others = N_SEQUENCES - 1
    with (
        Model(path, ModelParams(n_gpu_layers=gpu_layers)) as model,
        open_bench(model, n_threads, kv_unified=True) as bench,
    ):
        bench.decode(*((seq_id, 0, N_PROMPT) for seq_id in range(N_SEQUENCES)))
        decoding = tuple((seq_id, N_PROMPT, 1) for seq_id in range(N_SEQUENCES))
        bench.median(N_SEQUENCES, N_PROMPT, decoding)  # the first use of each kernel is slower
        decode_seconds = bench.median(N_SEQUENCES, N_PROMPT, decoding) / 1e3
        bench.cut(others, N_PROMPT)
        steps = []
        for n in _SIZES:
            chunks = (*decoding[:-1], (others, 0, n))
            bench.median(others, N_PROMPT, chunks)
            steps.append(Step(n, bench.median(others, N_PROMPT, chunks) / 1e3))
    return GapReport(path.name, decode_seconds, tuple(steps))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--gpu-layers", type=int, default=-1)
    parser.add_argument("--threads", type=int, default=4)
    arguments = parser.parse_args()
    print(to_json(measure(arguments.model, arguments.gpu_layers, arguments.threads)))


if __name__ == "__main__":
    main()
