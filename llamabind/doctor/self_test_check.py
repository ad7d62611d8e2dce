"""Runs the self test in a child process and evaluates its result."""

from __future__ import annotations

from llamabind.doctor.child import REINSTALL, ChildAnswer, ask_child, failed_child
from llamabind.doctor.finding import Finding

_NAME = "self test"
_SECONDS = 150.0  # takes 1 or 2 s unless the machine is overloaded; the test also has its own limit


def run_self_test_in_child() -> ChildAnswer:
    """Compute with the bundled model on every device."""
    return ask_child(["llamabind.self_test", "--json"], _SECONDS)


def check_self_test(answer: ChildAnswer) -> Finding:
    """Evaluate self_test.SelfTestResult in `answer`; its speeds are only shown."""
    if failed := failed_child(_NAME, answer):
        return failed
    fields = answer.fields or {}
    detail = str(fields["detail"])
    if fields["status"] == "failed":
        problem, _, advice = detail.rpartition("; ")
        return Finding(_NAME, "broken", problem or detail, advice if problem else REINSTALL)
    if fields["status"] != "ok":
        return Finding(_NAME, "warning", f"skipped: {detail}")
    speeds = [
        f"{it['name']} {it['prompt_tokens_per_second']:.0f} prompt tokens/s, "
        f"{it['tokens_per_second']:.0f} tokens/s"
        for it in fields["devices"]
    ]
    if detail:  # names a device that could not be tested
        return Finding(_NAME, "warning", "; ".join((*speeds, detail)))
    return Finding(_NAME, "ok", "; ".join(("computes right", *speeds)))
