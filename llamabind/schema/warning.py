"""SchemaWarning: a keyword of a JSON schema that is not enforced."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class SchemaWarning:
    """A keyword that is not enforced; `path` ends with it, as in errors."""

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path} is not enforced: {self.reason}"


def shown(value: Any) -> str:
    """Return a value as text for a warning, at most 62 characters."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    text = repr(value[:60] if isinstance(value, str) else value)
    return text if len(text) <= 62 else text[:57] + "..."
