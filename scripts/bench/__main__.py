"""The command line of the benchmarks; scripts/benchmark calls it."""

import argparse
import os
import signal
import sys
import tempfile
from pathlib import Path

from make_random_model import SHAPES, random_model

from bench.contest import Contest, Ring
from bench.report import contest_lines, is_reached, run_line, write_json
from bench.scenarios import GROUPS, SCENARIOS, find_scenarios
from bench.servers import ServerFailedError


def main() -> int:
    """Exit status 1 if a goal is missed, 2 if something does not work."""
    arguments = _arguments()
    # The servers must not outlive us; as an exception it closes them.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    model = arguments.model or random_model(arguments.shape)
    with tempfile.TemporaryDirectory(prefix="benchmark-") as logs:
        ring = Ring(
            model=model.absolute(),
            binaries=arguments.peers,
            log_folder=Path(logs),
            threads=arguments.threads or None,
            gpu_layers=arguments.gpu_layers,
            max_tokens=arguments.max_tokens,
            has_neighbour=arguments.neighbour,
            only=frozenset(arguments.only),
        )
        contests: list[Contest] = []
        try:
            for scenario in find_scenarios(arguments.scenarios or ["all"]):
                contests.append(
                    ring.hold(scenario, arguments.rounds, lambda run: _say(run_line(run)))
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


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/benchmark",
        description="Compare this server with llama-server of the same build.",
        epilog=_scenario_help(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    # Not `choices`: argparse would hold the empty list against them, too.
    parser.add_argument(
        "scenarios", nargs="*", metavar="SCENARIO", help="default: all; see below", type=_scenario
    )
    parser.add_argument("--rounds", type=int, default=5, help="of each contestant; default 5")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every number to it")
    parser.add_argument("--model", type=Path, metavar="FILE", help="a GGUF with a chat template")
    parser.add_argument(
        "--shape", choices=SHAPES, default="135m", help="of a random model instead; default 135m"
    )
    parser.add_argument(
        *("--threads", "-t"),
        type=int,
        default=os.cpu_count(),
        help="of every contestant; 0 is each one's own choice; default: all cores",
    )
    parser.add_argument("--gpu-layers", type=int, metavar="N", help="layers on the GPU; -1 is all")
    parser.add_argument("--max-tokens", type=int, metavar="N", help="per request, not the usual")
    parser.add_argument(
        "--neighbour", action="store_true", help="keep one core half busy beside every run"
    )
    parser.add_argument(
        "--only", nargs="*", default=[], metavar="NAME", help="contestants that take part"
    )
    parser.add_argument(
        "--peers", type=Path, metavar="DIR", help="folder of llama-server; without it only ours"
    )
    return parser.parse_args()


def _scenario(name: str) -> str:
    if name not in SCENARIOS and name not in GROUPS:
        raise argparse.ArgumentTypeError(f"{name!r} is none; see --help")
    return name


def _scenario_help() -> str:
    lines = ["scenarios:"]
    lines += [f"  {scenario.name:15}{scenario.text}" for scenario in SCENARIOS.values()]
    lines += [f"  {name:15}{', '.join(members)}" for name, members in GROUPS.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
