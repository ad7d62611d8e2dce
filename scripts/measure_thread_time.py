"""Measures the CPU time of a server's threads per token: `python scripts/measure_thread_time.py`.

Runs scenarios of scripts/benchmark (default: single, distinct-16) on our server and, with
`--peers DIR`, on llama-server. For every thread of the server and of this client it prints, per
token: milliseconds of CPU time, milliseconds of waiting for a core, and the number of times that it
was scheduled. Linux only. Compute threads spin, so their CPU time is about the time of the step.
"""

import argparse
import os
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import psutil
from bench.load import Endpoint, Shot, fire
from bench.prompts import user, words
from bench.scenarios import find_scenarios
from bench.servers import ServerSettings, our_server, peer_server
from make_random_model import random_model

_WORTH_A_LINE = 0.02


class Spent(NamedTuple):
    """One thread: seconds on a core, seconds it waited for one, times it was scheduled."""

    ran: float
    waited: float
    turns: int


def spent() -> dict[tuple[int, str, int], Spent]:
    """The threads of this process and its children, by (process id, process name, thread id)."""
    me = psutil.Process()
    return {
        (process.pid, process.name(), thread.id): _read(process.pid, thread.id)
        for process in [me, *me.children(recursive=True)]
        for thread in process.threads()
    }


def _read(pid: int, thread: int) -> Spent:
    # Documentation/scheduler/sched-stats.rst of Linux.
    ran, waited, turns = Path(f"/proc/{pid}/task/{thread}/schedstat").read_text().split()
    return Spent(int(ran) / 1e9, int(waited) / 1e9, int(turns))


def measure(server: AbstractContextManager[Endpoint], shots: list[Shot]) -> Iterator[str]:
    """Run the requests; yields a line for each thread."""
    with server as endpoint:
        fire(endpoint, [Shot((user(words(8, "warm")),), 4)])
        before = spent()
        results = fire(endpoint, shots)
        after = spent()
    n_tokens = sum(result.n_tokens for result in results)
    for key, now in after.items():
        was = before.get(key, Spent(0.0, 0.0, 0))
        ran, waited = (1e3 * (now[i] - was[i]) / n_tokens for i in (0, 1))
        if ran >= _WORTH_A_LINE:
            turns = (now.turns - was.turns) / n_tokens
            thread = f"{key[1]:15} {key[2]:8}"
            yield f"  {thread}  ran {ran:7.3f}  waited {waited:6.3f}  scheduled {turns:5.2f}"


def main() -> None:
    """Print the table of each scenario and server."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("scenarios", nargs="*", help="as in scripts/benchmark --help")
    parser.add_argument("--peers", type=Path, metavar="DIR", help="folder of llama-server")
    parser.add_argument("--layout", choices=("unified", "split"), default="unified")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    model = random_model("135m").absolute()
    with tempfile.TemporaryDirectory(prefix="thread-time-") as folder:
        log = Path(folder) / "log"
        for scenario in find_scenarios(arguments.scenarios or ["single", "distinct-16"]):
            settings: ServerSettings = replace(
                scenario.settings, layout=arguments.layout, threads=arguments.threads
            )
            servers = {"ours": our_server(model, settings, log)}
            if arguments.peers:
                servers["llama-server"] = peer_server(arguments.peers, model, settings, log)
            for name, server in servers.items():
                print(f"{scenario.name}, {name}: milliseconds per token", flush=True)
                for line in measure(server, scenario.shots(0)):
                    print(line, flush=True)


if __name__ == "__main__":
    main()
