#!/usr/bin/env python
"""Measures the largest gap between two tokens with and without hostile grammars in the engine.

    PYTHONPATH=. .venv/bin/python scripts/hostile_gaps.py [MODEL.gguf]

Four sequences decode in one engine (one thread), first alone, then with up to four requests whose
grammars and trigger patterns are those of tests/support/hostile_grammars.py.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from llamabind.engine.config import EngineConfig
from llamabind.engine.engine import Engine, load_engine
from llamabind.errors import GrammarError, InvalidParameterError
from llamabind.sampling.params import GrammarTrigger, SamplingParams
from tests.support.engine_runs import ENDLESS, make_request, submit
from tests.support.hostile_grammars import PATTERNS, REFUSED, TRIED

_ROOT = Path(__file__).resolve().parents[1]
_N_DECODING = 4
_N_BESIDE = 4


def _hostile_params() -> list[SamplingParams]:
    grammars = [grammar for grammar, _ in REFUSED.values()] + list(TRIED.values())
    found = [
        SamplingParams(temperature=0, grammar=grammar)
        for grammar in grammars
        if "\0" not in grammar
    ]
    for pattern in PATTERNS.values():
        if pattern:
            triggers = (GrammarTrigger("pattern", pattern),)
            found.append(
                SamplingParams(
                    grammar='root ::= "a"+', grammar_lazy=True, grammar_triggers=triggers
                )
            )
    return found


def _gaps(engine: Engine, hostile: list[SamplingParams]) -> list[float]:
    """The seconds of each step in which all decoding sequences got a token."""
    for i in range(_N_DECODING):
        submit(engine, make_request(f"s{i}", range(1, 20 + i), 600, sampling=ENDLESS))
    gaps: list[float] = []
    n_beside = 0
    while engine.stats.running >= _N_DECODING or not gaps:
        started = time.perf_counter()
        outputs = engine.step()
        n_beside -= sum(1 for o in outputs if o.finish_reason and o.request_id[0] == "h")
        if sum(o.request_id[0] == "s" for o in outputs) == _N_DECODING:
            gaps.append(time.perf_counter() - started)
        while hostile and n_beside < _N_BESIDE:
            request = make_request(f"h{len(hostile)}", [1, 2, 3], 16, sampling=hostile.pop())
            try:
                submit(
                    engine, request
                )  # a server's intake thread parses grammars, so not in the gap
            except (GrammarError, InvalidParameterError):
                continue
            n_beside += 1
    engine.abort_all()
    return gaps


def main() -> None:
    """Print one line for each of the two runs."""
    bundled = _ROOT / "llamabind" / "models" / "tiny-chat.gguf"
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else bundled
    config = EngineConfig(n_ctx=8192, n_parallel=_N_DECODING + _N_BESIDE, n_threads=1)
    with load_engine(path, config=config) as engine:
        for name, hostile in (("alone", []), ("with hostile grammars", _hostile_params())):
            gaps = sorted(_gaps(engine, hostile))
            median, largest = gaps[len(gaps) // 2], gaps[-1]
            print(f"{name}: median {1e3 * median:.1f} ms, largest {1e3 * largest:.1f} ms")


if __name__ == "__main__":
    main()
