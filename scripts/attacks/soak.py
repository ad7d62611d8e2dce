"""The hostile soak: honest clients beside all attacks (`scripts/soak.py --hostile`)."""

import multiprocessing
import random
import sys
import threading
import time
from dataclasses import dataclass, field

from attacks.kinds import ATTACKS, run
from attacks.target import MODEL, OTHER, Client, Target, Usage, chat

_CHAT = "/v1/chat/completions"
_AT_ONCE = 3
_SHIFT_SECONDS = 10.0
_CALM_SECONDS = 20.0
_MB = 1 << 20


@dataclass
class Honest:
    """A client that asks one question after the other."""

    model: str
    address: str
    seconds: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def ask(self, client: Client, over: threading.Event) -> None:
        """Ask until `over`; every answer must be complete."""
        body = chat("Tell me a story", max_tokens=16) | {"model": self.model}
        while not over.wait(0.2):
            begun = time.monotonic()
            try:
                status, answer = client.request("POST", _CHAT, body, self.address)
                # An attack unloads one of the models: a client is told to try again.
                if status != 200 and b'"model_draining"' not in answer:
                    self.failures.append(f"status {status}: {answer[:200].decode()}")
            except OSError as error:
                self.failures.append(repr(error))
            self.seconds.append(time.monotonic() - begun)


def run_soak(seconds: float, deadline: float, max_growth: float, seed: int) -> int:
    """Run all attacks, three at a time, beside two honest clients; the status of the process.

    The usage is measured after a tenth of the time and at the end, both times without attacks.
    """
    random_ = random.Random(seed)
    clients = [Honest(MODEL, "127.0.0.2"), Honest(OTHER, "127.0.0.3")]
    with Target() as target:
        _attack(target, clients, seconds * 0.1, random_)
        before = _calm(target)
        _attack(target, clients, seconds * 0.9, random_)
        after = _calm(target)
        n_workers = len(target.workers())
    faults = [f"{client.model}: {fault}" for client in clients for fault in client.failures]
    for client in clients:
        times = sorted(client.seconds)
        slowest = times[-1]
        print(
            f"{client.model}: {len(times)} honest requests, "
            f"median {times[len(times) // 2]:.2f} s, slowest {slowest:.1f} s"
        )
        if slowest > deadline:
            faults.append(f"{client.model}: a request took {slowest:.1f} s, over {deadline:g} s")
    for name in ("server", "workers"):
        old, new = before[name], after[name]
        print(
            f"{name}: memory {old.memory // _MB} -> {new.memory // _MB} MB, "
            f"descriptors {old.descriptors} -> {new.descriptors}, "
            f"threads {old.threads} -> {new.threads}"
        )
        if new.memory - old.memory > max_growth * 1e6:
            faults.append(f"the memory of {name} grew by more than {max_growth:g} MB")
        if new.descriptors > old.descriptors + 8 or new.threads > old.threads + 8:
            faults.append(f"{name} kept descriptors or threads")
    if n_workers != len(clients):
        faults.append(f"{n_workers} workers for {len(clients)} models")
    for fault in faults:
        print(fault, file=sys.stderr)
    return int(bool(faults))


def _attack(target: Target, clients: list[Honest], seconds: float, random_: random.Random) -> None:
    context = multiprocessing.get_context("spawn")
    done = threading.Event()
    asking = [threading.Thread(target=client.ask, args=(target.client, done)) for client in clients]
    for thread in asking:
        thread.start()
    end = time.monotonic() + seconds
    left: list[str] = []
    while time.monotonic() < end:
        if len(left) < _AT_ONCE:
            left += random_.sample(sorted(ATTACKS), len(ATTACKS))
        names, left = left[:_AT_ONCE], left[_AT_ONCE:]
        over = context.Event()
        attackers = [
            context.Process(target=run, args=(name, target.client.port, over), daemon=True)
            for name in names
        ]
        for attacker in attackers:
            attacker.start()
        time.sleep(_SHIFT_SECONDS)
        over.set()
        for attacker in attackers:
            attacker.join(1.0)
            # As a client that is killed: its connections close in the middle of requests.
            attacker.kill()
            attacker.join()
        print(
            f"{', '.join(names)}: {sum(len(one.seconds) for one in clients)} honest requests",
            flush=True,
        )
    done.set()
    for thread in asking:
        thread.join()


def _calm(target: Target) -> dict[str, Usage]:
    time.sleep(_CALM_SECONDS)
    # Workers that an attack ended are loaded again by its first request.
    target.fill_caches()
    workers = [Usage.of(worker) for worker in target.workers()]
    total = Usage(
        sum(one.memory for one in workers),
        sum(one.descriptors for one in workers),
        sum(one.threads for one in workers),
    )
    return {"server": Usage.of(target.process), "workers": total}
