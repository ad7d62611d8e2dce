"""The part of a JSON schema that a reference points to; pure Python."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote


def follow(root: Any, ref: Any) -> Any:
    """Return the part that "#" or a JSON pointer like "#/$defs/a" names; None if there is none."""
    if not isinstance(ref, str) or (ref != "#" and not ref.startswith("#/")):
        return None
    parts = ref.split("/")[1:]
    return part_at(root, (unquote(part).replace("~1", "/").replace("~0", "~") for part in parts))


def part_at(root: Any, keys: Iterable[str]) -> Any:
    """Return the part under keys of objects and indices of arrays; None if there is none."""
    target = root
    for key in keys:
        if isinstance(target, Mapping):
            target = target.get(key)
        elif isinstance(target, list) and re.fullmatch("[0-9]{1,9}", key):
            target = target[int(key)] if int(key) < len(target) else None
        else:
            return None
    return target
