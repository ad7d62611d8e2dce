"""Measures /live and /health, and the server's memory, during attacks: `scripts/attack [NAME ...]`.

Starts a server for each attack, waits until it is calm, attacks it, and prints the 99th percentile
and the longest latency of both paths in milliseconds, and the memory of the server's process in MB:
before, at most meanwhile, and 10 seconds after. "none" measures without an attack. Exits with 1 if
a 99th percentile is over --limit-ms.
"""

import argparse
import multiprocessing
import sys
import time

from attacks.kinds import ATTACKS, run
from attacks.target import Target, Usage
from attacks.watch import PATHS, Watch


def measure(name: str, seconds: float) -> list[float]:
    """Attack a new server for `seconds` and print a row; the 99th percentiles."""
    # A process of its own: its threads would delay the measuring ones.
    context = multiprocessing.get_context("spawn")
    over = context.Event()
    with Target() as target:
        attacker = context.Process(target=run, args=(name, target.client.port, over), daemon=True)
        if name != "none":
            attacker.start()
            time.sleep(2.0)
        with Watch(target) as watch:
            time.sleep(seconds)
        over.set()
        if name != "none":
            attacker.join(60)
            attacker.kill()
        time.sleep(10.0)
        after = Usage.of(target.process).memory
    found = [watch.percentile(path) for path in PATHS]
    figures = [
        f"{watch.percentile(path):.0f} / {watch.percentile(path, 100):.0f}" for path in PATHS
    ]
    memory = f"{watch.before.memory >> 20} / {watch.most_memory >> 20} / {after >> 20}"
    n_probes = sum(map(len, watch.latencies.values()))
    print(f"| {name} | {figures[0]} | {figures[1]} | {n_probes} | {memory} |", flush=True)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/attack",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    names = ("none", *ATTACKS)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(names))
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--limit-ms", type=float, default=100)
    arguments = parser.parse_args()
    if unknown := sorted(set(arguments.names) - set(names)):
        parser.error(f"unknown attack {unknown[0]!r}: expected {', '.join(names)}")
    print("| attack | /live: 99 % / longest, ms | /health | probes | memory, MB |")
    print("| --- | --- | --- | --- | --- |", flush=True)
    slow = [
        name
        for name in arguments.names or names
        if max(measure(name, arguments.seconds)) > arguments.limit_ms
    ]
    if slow:
        print(f"over {arguments.limit_ms:g} ms: {', '.join(slow)}", file=sys.stderr)
    return int(bool(slow))


if __name__ == "__main__":
    sys.exit(main())
