"""union: one list of models from the lists of all models' servers."""

from collections.abc import Iterable, Sequence
from typing import Any


def union(documents: Iterable[dict[str, Any]], keys: Sequence[str]) -> dict[str, Any]:
    """The first document with the elements of all documents in its lists and objects `keys`."""
    merged: dict[str, Any] = {}
    for document in documents:
        if not merged:
            merged = dict(document)
            continue
        for key in keys:
            more = document.get(key)
            if isinstance(more, list):
                merged[key] = [*merged.get(key, ()), *more]
            elif isinstance(more, dict):
                merged[key] = merged.get(key, {}) | more
    return merged
