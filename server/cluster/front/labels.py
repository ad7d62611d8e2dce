"""merge_metrics: the metrics of all replicas as one text, with the label `replica`."""

import re
from collections.abc import Iterable
from typing import Final

_SAMPLE: Final = re.compile(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})?( .*)", re.DOTALL)


def merge_metrics(texts: Iterable[tuple[str, str]]) -> str:
    """The Prometheus text of (replica, text) pairs; each family's HELP and TYPE appear once."""
    families: dict[str, tuple[list[str], list[str]]] = {}
    for replica, text in texts:
        family = ""
        for line in text.splitlines():
            if line.startswith("# "):
                _, kind, family, *_ = line.split(" ", 3)
                heads = families.setdefault(family, ([], []))[0]
                if kind not in _kinds(heads):
                    heads.append(line)
            elif found := _SAMPLE.fullmatch(line):
                name, labels, value = found.groups()
                inside = f'replica="{replica}"' + (f",{labels}" if labels else "")
                families.setdefault(family or name, ([], []))[1].append(
                    f"{name}{{{inside}}}{value}"
                )
    lines = (line for heads, samples in families.values() for line in (*heads, *samples))
    return "".join(f"{line}\n" for line in lines)


def _kinds(heads: Iterable[str]) -> set[str]:
    return {head.split(" ", 2)[1] for head in heads}
