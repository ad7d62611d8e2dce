"""Sends random requests to an engine: `python scripts/soak.py --seconds 600`.

The requests differ in prefix, length, sampler, grammar and logits processors. More requests arrive
than fit at once, and n-gram drafts are on. Some requests are cancelled, others time out in the
queue. At the end, every request must have ended exactly once, no KV cell or sequence may be lost,
and memory must not have grown with the number of requests. The test suite runs this for 30 seconds
(tests/native/engine/test_soak.py).

With --hostile it starts a server instead, attacks it in all ways of scripts/attacks, three at a
time, and lets honest clients ask meanwhile: none of them may wait longer than --deadline, and the
server's memory, descriptors and threads must be at the end what they were before.
"""

import argparse
import os
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
from attacks.soak import run_soak
from numpy.typing import NDArray

from llamabind import Engine, EngineConfig, GenerationRequest, SamplingParams, load_engine
from llamabind.engine.engine import DEBUG_VARIABLE
from llamabind.errors import LlamaError

BUNDLED = Path(__file__).parents[1] / "llamabind" / "models" / "tiny-chat.gguf"
GRAMMARS = ("", "", "", 'root ::= "yes" | "no"', 'root ::= [0-9]+ ("," [0-9]+)*', "root ::= (")
MAX_LIVE = 48


@dataclass
class Soak:
    """The traffic and its counters; `live` holds the ids of requests that have not ended."""

    engine: Engine
    rng: random.Random
    live: set[str] = field(default_factory=set)
    ended: dict[str, int] = field(default_factory=dict)
    n_started: int = 0
    n_refused: int = 0

    def run(self, seconds: float) -> None:
        """Submit requests for `seconds`, then step until all have ended."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._submit_some()
            self._cancel_one()
            self._step()
        while self.engine.has_work:
            self._step()
        self.engine.check_idle()

    def _submit_some(self) -> None:
        while len(self.live) < MAX_LIVE and self.rng.random() < 0.5:
            request = self._request(f"r{self.n_started + self.n_refused}")
            try:
                self.engine.prepare(request)
            except LlamaError:
                self.n_refused += 1
                continue
            self.engine.add(request)
            self.live.add(request.request_id)
            self.n_started += 1

    def _request(self, request_id: str) -> GenerationRequest:
        rng, shape = self.rng, self.engine.shape
        shared = [1 + i * 7 % (shape.n_vocab - 1) for i in range(rng.randrange(shape.n_ctx // 2))]
        own = [rng.randrange(shape.n_vocab) for _ in range(rng.randint(1, shape.n_ctx // 3))]
        sampling = SamplingParams(
            temperature=rng.choice((0.0, 0.8, 2.0)),
            seed=rng.randrange(1000),
            repeat_penalty=rng.choice((1.0, 1.1)),
            mirostat=rng.choice((0, 0, 0, 1, 2)),
            grammar=rng.choice(GRAMMARS),
        )
        return GenerationRequest(
            request_id=request_id,
            prompt_tokens=tuple(shared[: rng.randrange(len(shared) + 1)] + own),
            sampling=sampling,
            max_tokens=rng.choice((0, 1, 5, 50, None)),
            stop=rng.choice(((), ("e",), ("the end", "."))),
            logprobs=rng.choice((None, None, 3)),
            caller=rng.choice("abc"),
            priority=rng.choice((0, 0, 1)),
            max_queue_seconds=rng.choice((None, None, 0.0, 0.05, 60.0)),
            cache_prompt=rng.random() < 0.9,
            prompt_logprobs=rng.choice((None, None, None, 1)),
            logits_processors=rng.choice(((), (), (_forbid_odd_tokens,), (_fail_at_times,))),
        )

    def _cancel_one(self) -> None:
        if self.live and self.rng.random() < 0.05:
            self.engine.cancel(self.rng.choice(sorted(self.live)))

    def _step(self) -> None:
        for output in self.engine.step():
            if output.finish_reason is not None:
                self.live.remove(output.request_id)
                reason = output.finish_reason.value
                self.ended[reason] = self.ended.get(reason, 0) + 1


def _forbid_odd_tokens(_tokens: Sequence[int], logits: NDArray[np.float32]) -> None:
    logits[1::2] = -np.inf


def _fail_at_times(tokens: Sequence[int], _logits: NDArray[np.float32]) -> None:
    if len(tokens) % 20 == 0:
        raise ValueError("raised by the soak's logits processor")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument(
        "--max-growth", type=float, default=64, help="maximum growth of memory in MB"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--hostile", action="store_true", help="attack a server (see above)")
    parser.add_argument(
        "--deadline", type=float, default=60, help="most seconds of an honest request (--hostile)"
    )
    parser.add_argument("--n-ctx", type=int, default=1024)
    parser.add_argument(
        "--threads", type=int, help="compute threads; default: chosen while it runs"
    )
    parser.add_argument(
        "--split", action="store_true", help="split the KV cache (kv_unified: false)"
    )
    parser.add_argument("--no-drafts", action="store_true", help="disable speculative decoding")
    parser.add_argument("model", type=Path, nargs="?", default=BUNDLED)
    arguments = parser.parse_args()
    if arguments.hostile:
        return run_soak(arguments.seconds, arguments.deadline, arguments.max_growth, arguments.seed)
    config = EngineConfig(
        n_ctx=arguments.n_ctx,
        n_parallel=8,
        n_batch=256,
        n_threads=arguments.threads,
        kv_unified=not arguments.split,
        speculative="off" if arguments.no_drafts else "ngram",
        # Small, so that it is full when the memory is measured for the first time.
        cache_ram_mib=8,
    )
    os.environ[DEBUG_VARIABLE] = "1"
    process = psutil.Process()
    with load_engine(arguments.model, config=config) as engine:
        soak = Soak(engine, random.Random(arguments.seed))
        # After a tenth of the time the state is steady; from then on memory must not grow.
        soak.run(arguments.seconds * 0.1)
        before = process.memory_info().rss
        soak.run(arguments.seconds * 0.9)
        grown = process.memory_info().rss - before
    print(f"{soak.n_started} requests: {soak.ended}, {soak.n_refused} refused")
    print(f"{engine.stats.speculation.draft_tokens} draft tokens")
    print(f"memory grew by {grown / 1e6:.1f} MB")
    lost = soak.n_started - sum(soak.ended.values())
    if lost or soak.live:
        print(f"{lost} requests were lost", file=sys.stderr)
        return 1
    if grown > arguments.max_growth * 1e6:
        print(f"that is more than {arguments.max_growth} MB", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
