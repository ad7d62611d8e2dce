"""The command line of the benchmarks; scripts/benchmark calls it."""

import argparse
import os
import signal
import sys
import tempfile
from pathlib import Path

from make_random_model import SHAPES, random_model

from bench.contest import Bench, Contest
from bench.report import contest_lines, is_reached, run_line, write_json
from bench.scenarios import GROUPS, SCENARIOS, find_scenarios
from bench.servers import ServerFailedError


def main() -> int:
    """Exit status 1 if a goal is missed, 2 if a server fails."""
    arguments = _arguments()
    # SystemExit unwinds the context managers that end the servers.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    model = arguments.model or random_model(arguments.shape)
    with tempfile.TemporaryDirectory(prefix="benchmark-") as logs:
        bench = Bench(
            model=model.absolute(),
            binaries=arguments.peers,
            log_folder=Path(logs),
            threads=arguments.threads or None,
            gpu_layers=arguments.gpu_layers,
            max_tokens=arguments.max_tokens,
            has_neighbour=arguments.neighbour,
            only=frozenset(arguments.only),
            may_choose_model=arguments.model is None,
        )
        contests: list[Contest] = []
        try:
            for scenario in find_scenarios(arguments.scenarios or ["all"]):
                contests.append(
                    bench.measure(scenario, arguments.rounds, lambda run: _log(run_line(run)))
                )
                print("\n".join(contest_lines(contests[-1])), flush=True)
        except ServerFailedError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        finally:
            if arguments.json:
                facts = {"arguments": sys.argv[1:], "model": model.name}
                write_json(arguments.json, contests, facts)
    return 1 if any(_is_missed(contest) for contest in contests) else 0


def _is_missed(contest: Contest) -> bool:
    return any(is_reached(contest, goal) is False for goal in contest.scenario.goals)


def _log(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/benchmark",
        description="Compare this server with llama-server of the same build.",
        epilog=_scenario_help(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    # Not `choices`: argparse would check an empty list against them and refuse it.
    parser.add_argument(
        "scenarios",
        nargs="*",
        metavar="SCENARIO",
        help="scenarios to run, listed below; default: all",
        type=_scenario,
    )
    parser.add_argument("--rounds", type=int, default=5, help="runs of each server; default 5")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all results to FILE")
    parser.add_argument("--model", type=Path, metavar="FILE", help="GGUF file with a chat template")
    parser.add_argument(
        "--shape",
        choices=SHAPES,
        default="135m",
        help="shape of the random model without --model; default 135m",
    )
    parser.add_argument(
        *("--threads", "-t"),
        type=int,
        default=os.cpu_count(),
        help="compute threads of each server; 0 lets the server choose; default: all cores",
    )
    parser.add_argument("--gpu-layers", type=int, metavar="N", help="layers on the GPU; -1: all")
    parser.add_argument(
        "--max-tokens", type=int, metavar="N", help="tokens per request; default: the scenario's"
    )
    parser.add_argument(
        "--neighbour", action="store_true", help="keep one core half busy during every run"
    )
    parser.add_argument(
        "--only",
        nargs="*",
        default=[],
        metavar="NAME",
        help="run only these servers, such as ours and peer-split",
    )
    parser.add_argument(
        "--peers",
        type=Path,
        metavar="DIR",
        help="folder of llama-server; default: run only our server",
    )
    return parser.parse_args()


def _scenario(name: str) -> str:
    if name not in SCENARIOS and name not in GROUPS:
        raise argparse.ArgumentTypeError(f"unknown scenario {name!r}; see --help")
    return name


def _scenario_help() -> str:
    lines = ["scenarios:"]
    lines += [f"  {scenario.name:15}{scenario.text}" for scenario in SCENARIOS.values()]
    lines += [f"  {name:15}{', '.join(members)}" for name, members in GROUPS.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
