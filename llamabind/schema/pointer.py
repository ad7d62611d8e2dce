"""follow: the part of a JSON schema that a reference points to; pure Python."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote


def follow(root: Any, ref: Any) -> Any:
    """Return the part that "#" or a JSON pointer like "#/$defs/a" names; None if there is none."""
    if not isinstance(ref, str) or (ref != "#" and not ref.startswith("#/")):
        return None
    target = root
    for part in ref.split("/")[1:]:
        key = unquote(part).replace("~1", "/").replace("~0", "~")
        if isinstance(target, Mapping):
            target = target.get(key)
        elif isinstance(target, list) and re.fullmatch("[0-9]{1,9}", key):
            target = target[int(key)] if int(key) < len(target) else None
        else:
            return None
    return target
