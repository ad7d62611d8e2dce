"""LeftOut: the tools of a request that are not functions, and are left out of the prompt."""

from collections.abc import Collection, Sequence

from server.errors import InvalidRequestError

_ONLY_FUNCTIONS = "only tools of type 'function' are supported"


class LeftOut:
    """Collects left-out tools with a warning for each; a tool_choice that needs one is a 400."""

    def __init__(self) -> None:
        self._warnings: list[str] = []
        self._names: set[str] = set()

    @property
    def warnings(self) -> tuple[str, ...]:
        """The warnings, one for each left-out tool or choice."""
        return tuple(self._warnings)

    def add(self, path: str, kind: str, name: str | None, reason: str = "") -> None:
        """Leave out the tool at field `path`."""
        self._names |= {kind, *([name] if name else [])}
        what = f"{kind!r}" + (f" {name!r}" if name and name != kind else "")
        reason = reason or _ONLY_FUNCTIONS
        self._warnings.append(f"{path} {what} is left out: {reason}")

    def check_choice(self, param: str, name: str, functions: Collection[str]) -> None:
        """Raise InvalidRequestError if the tool that must be called was left out."""
        if name in self._names and name not in functions:
            raise InvalidRequestError(
                f"field '{param}': tool {name!r} was left out of this request: {_ONLY_FUNCTIONS}",
                param=param,
            )

    def check_required(self, param: str, n_tools: int) -> None:
        """Raise InvalidRequestError if a call is required, but all tools were left out."""
        if self._warnings and not n_tools:
            raise InvalidRequestError(
                f"field '{param}': a call is required, but all {len(self._warnings)} tools of the "
                f"request were left out: {_ONLY_FUNCTIONS}",
                param=param,
            )

    def without(self, names: Sequence[str], param: str, functions: Collection[str]) -> list[str]:
        """`names` without left-out tools; adds a warning for each of those."""
        left = [name for name in names if name in self._names and name not in functions]
        self._warnings += [f"{param}: {name!r} was left out of the tools" for name in left]
        return [name for name in names if name not in left]
