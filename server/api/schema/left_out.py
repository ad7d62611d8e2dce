"""LeftOut: the tools of a request that are not functions; the model is not told of them."""

from collections.abc import Collection, Sequence

from server.errors import InvalidRequestError


class LeftOut:
    """Collects them, with a warning for each, and answers a choice of one with a 400."""

    def __init__(self) -> None:
        self._warnings: list[str] = []
        self._names: set[str] = set()

    @property
    def warnings(self) -> tuple[str, ...]:
        """One for each tool."""
        return tuple(self._warnings)

    def add(self, place: str, kind: str, name: str | None, reason: str = "") -> None:
        """Leave out the tool at `place`."""
        self._names |= {kind, *([name] if name else [])}
        what = f"{kind!r}" + (f" {name!r}" if name and name != kind else "")
        reason = reason or "only tools of type 'function' can be called here"
        self._warnings.append(f"{place} {what} is left out: {reason}")

    def check_choice(self, param: str, name: str, functions: Collection[str]) -> None:
        """Raise InvalidRequestError if the one that must be called was left out."""
        if name in self._names and name not in functions:
            raise InvalidRequestError(
                f"field '{param}': {name!r} was left out of the tools of this request, because "
                "only functions can be called here",
                param=param,
            )

    def check_required(self, param: str, n_tools: int) -> None:
        """Raise InvalidRequestError if a call must come, and no tool is left."""
        if self._warnings and not n_tools:
            raise InvalidRequestError(
                f"field '{param}': a call is required, but all {len(self._warnings)} tools of the "
                "request were left out, because only functions can be called here",
                param=param,
            )

    def without(self, names: Sequence[str], param: str, functions: Collection[str]) -> list[str]:
        """The names of a list of allowed tools that are not left out; a warning for the others."""
        left = [name for name in names if name in self._names and name not in functions]
        self._warnings += [f"{param}: {name!r} was left out of the tools" for name in left]
        return [name for name in names if name not in left]
