"""LeftOut: the parts of a request that are left out of the prompt, with a warning for each."""

from collections.abc import Collection, Sequence

_NO_TOOL = "only functions and custom tools are supported"
_SHOWN_PATHS = 3


class LeftOut:
    """Collects left-out tools and parts of the conversation.

    A tool_choice that needs a left-out tool is a warning too: agents choose tools that run on their
    vendor's servers, and accept an answer without a call.
    """

    def __init__(self) -> None:
        self._warnings: list[str] = []
        self._names: set[str] = set()
        # The fields of parts by their common warning: agents repeat a part in every request.
        self._parts: dict[str, list[str]] = {}

    @property
    def warnings(self) -> tuple[str, ...]:
        """The warnings: one for each tool or choice, and for each kind of part."""
        return (*self._warnings, *(_of_parts(*item) for item in self._parts.items()))

    def add(self, path: str, kind: str, name: str | None, reason: str = "") -> None:
        """Leave out the tool at field `path`."""
        self._names |= {kind, *([name] if name else [])}
        what = f"{kind!r}" + (f" {name!r}" if name and name != kind else "")
        self._warnings.append(f"{path} {what} is left out: {reason or _NO_TOOL}")

    def add_part(self, path: str, kind: str, reason: str) -> None:
        """Leave out the message, item, block or content part at field `path`."""
        self.note(path, f"{kind!r} is left out: {reason}")

    def note(self, path: str, text: str) -> None:
        """Add a warning about the part at field `path`; equal warnings are joined to one."""
        self._parts.setdefault(text, []).append(path)

    def warn(self, text: str) -> None:
        """Add a warning about a part that is offered to the model, but not as it was sent."""
        self._warnings.append(text)

    def lacks_choice(self, param: str, name: str, functions: Collection[str]) -> bool:
        """Whether the tool that must be called was left out; adds a warning if so."""
        if name not in self._names or name in functions:
            return False
        self.warn(f"{param} is ignored: tool {name!r} was left out")
        return True

    def lacks_all(self, param: str, n_tools: int) -> bool:
        """Whether a call is required, but all tools were left out; adds a warning if so."""
        if n_tools or not self._names:
            return False
        self.warn(f"{param} is ignored: a call is required, but all tools were left out")
        return True

    def without(self, names: Sequence[str], param: str, functions: Collection[str]) -> list[str]:
        """`names` without left-out tools; adds a warning for each of those."""
        left = [name for name in names if name in self._names and name not in functions]
        self._warnings += [f"{param}: {name!r} was left out of the tools" for name in left]
        return [name for name in names if name not in left]


def _of_parts(text: str, paths: list[str]) -> str:
    more = len(paths) - _SHOWN_PATHS
    shown = ", ".join(paths[:_SHOWN_PATHS]) + (f" and {more} more" if more > 0 else "")
    return f"{shown}: {text}"
