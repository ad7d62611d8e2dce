"""Prints an engine's tokens per second.

    python -m stepprofile.rate MODEL SEQUENCES PROMPT_TOKENS TOKENS THREADS

All sequences decode at once; prompts are computed before. THREADS 0 lets the engine choose.
"""

import sys
from pathlib import Path

from stepprofile.engine_part import Case, time_steps


def main() -> None:
    """Print the rate."""
    model, *numbers = sys.argv[1:]
    n_sequences, n_prompt, n_tokens, n_threads = map(int, numbers)
    times = time_steps(Path(model), Case(n_sequences, n_prompt, n_tokens), n_threads or None)
    print(1e6 / sum(times.wall.values()))


if __name__ == "__main__":
    main()
