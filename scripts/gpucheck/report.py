"""The summary of all checks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Result:
    """The result of one check: a sentence and its numbers."""

    name: str
    is_good: bool
    text: str
    numbers: dict[str, Any] = field(default_factory=dict)


def summary_lines(results: Sequence[Result]) -> Iterator[str]:
    """One line for each check."""
    yield "summary:"
    for result in results:
        yield f"  {result.name:10}{'ok' if result.is_good else 'FAILED':8}{result.text}"


def exit_status(results: Sequence[Result]) -> int:
    return 0 if all(result.is_good for result in results) else 1
