"""LeftOut: the parts of a request that are left out of the prompt, with a warning for each."""

from collections.abc import Collection, Sequence

from server.errors import InvalidRequestError

_NO_TOOL = "only functions and custom tools are supported"
_SHOWN_PATHS = 3


class LeftOut:
    """Collects left-out tools and parts of the conversation.

    A tool_choice that needs a left-out tool is a 400; a left-out part is only a warning.
    """

    def __init__(self) -> None:
        self._warnings: list[str] = []
        self._names: set[str] = set()
        # The fields of left-out parts, by kind and reason: agents repeat a part in every request.
        self._parts: dict[tuple[str, str], list[str]] = {}

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
        self._parts.setdefault((kind, reason), []).append(path)

    def warn(self, text: str) -> None:
        """Add a warning about a part that is offered to the model, but not as it was sent."""
        self._warnings.append(text)

    def check_choice(self, param: str, name: str, functions: Collection[str]) -> None:
        """Raise InvalidRequestError if the tool that must be called was left out."""
        if name in self._names and name not in functions:
            raise InvalidRequestError(
                f"field '{param}': tool {name!r} was left out of this request: {_NO_TOOL}",
                param=param,
            )

    def check_required(self, param: str, n_tools: int) -> None:
        """Raise InvalidRequestError if a call is required, but all tools were left out."""
        if self._names and not n_tools:
            raise InvalidRequestError(
                f"field '{param}': a call is required, but all tools of the request were left "
                f"out: {_NO_TOOL}",
                param=param,
            )

    def without(self, names: Sequence[str], param: str, functions: Collection[str]) -> list[str]:
        """`names` without left-out tools; adds a warning for each of those."""
        left = [name for name in names if name in self._names and name not in functions]
        self._warnings += [f"{param}: {name!r} was left out of the tools" for name in left]
        return [name for name in names if name not in left]


def _of_parts(kind: tuple[str, str], paths: list[str]) -> str:
    name, reason = kind
    more = len(paths) - _SHOWN_PATHS
    shown = ", ".join(paths[:_SHOWN_PATHS]) + (f" and {more} more" if more > 0 else "")
    return f"{shown}: {name!r} is left out: {reason}"
