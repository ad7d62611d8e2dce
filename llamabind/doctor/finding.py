"""Finding: the result of one check of the doctor, and its output as text and JSON."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Status = Literal["ok", "warning", "broken"]


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check; `advice` says what to do, "" if nothing."""

    name: str
    status: Status
    detail: str
    advice: str = ""


def guarded(name: str, check: Callable[[], Finding]) -> Finding:
    """Return the result of `check`; if it raises, a finding that is broken."""
    try:
        return check()
    except Exception as error:  # noqa: BLE001 - a doctor that crashes helps least where most is wrong
        problem = f"{type(error).__name__}: {error}"
        return Finding(
            name,
            "broken",
            f"the check itself failed: {problem}",
            "reinstall llamabind; if it happens again, report the output of `llamabind report`",
        )


def format_findings(findings: Sequence[Finding]) -> str:
    """Return one line per finding, with its advice below, and a summary."""
    width = max(len(finding.name) for finding in findings) + 2
    lines = []
    for finding in findings:
        lines.append(f"{finding.status:<9}{finding.name:<{width}}{finding.detail}")
        if finding.advice:
            lines.append(f"{'':<{9 + width}}-> {finding.advice}")
    return "\n".join((*lines, "", _summary(findings)))


def to_json(findings: Sequence[Finding]) -> dict[str, Any]:
    """Return the findings for a program; `status` is the worst of them."""
    statuses = {finding.status for finding in findings}
    worst = next(status for status in ("broken", "warning", "ok") if status in {*statuses, "ok"})
    return {"status": worst, "findings": [asdict(finding) for finding in findings]}


def _summary(findings: Sequence[Finding]) -> str:
    counts = Counter(finding.status for finding in findings)
    if not counts["broken"] and not counts["warning"]:
        return "Everything is in order."
    warnings = f"{counts['warning']} warning{'' if counts['warning'] == 1 else 's'}"
    return f"{counts['broken']} broken, {warnings}, {counts['ok']} in order."
