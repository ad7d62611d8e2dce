"""The self test, in a child process: the one place that knows how it is started."""

from __future__ import annotations

from llamabind.doctor.child import REINSTALL, ChildAnswer, ask_child, failed_child
from llamabind.doctor.finding import Finding

_NAME = "self test"
_SECONDS = 150.0  # takes one or two, unless the machine is overloaded; has a limit of its own, too


def run_self_test_in_child() -> ChildAnswer:
    """Compute with the bundled model on every device."""
    return ask_child(["llamabind.self_test", "--json"], _SECONDS)


def check_self_test(answer: ChildAnswer) -> Finding:
    """`answer` holds self_test.SelfTestResult; its speeds are for comparison, not judged."""
    if failed := failed_child(_NAME, answer):
        return failed
    fields = answer.fields or {}
    detail = str(fields["detail"])
    if fields["status"] == "failed":
        problem, _, advice = detail.rpartition("; ")
        return Finding(_NAME, "broken", problem or detail, advice if problem else REINSTALL)
    if fields["status"] != "ok":
        return Finding(_NAME, "warning", f"not done: {detail}")
    speeds = [
        f"{it['name']} {it['prompt_tokens_per_second']:.0f} prompt tokens/s, "
        f"{it['tokens_per_second']:.0f} tokens/s"
        for it in fields["devices"]
    ]
    if detail:  # of a device that could not be tested
        return Finding(_NAME, "warning", "; ".join((*speeds, detail)))
    return Finding(_NAME, "ok", "; ".join(("computes right", *speeds)))
