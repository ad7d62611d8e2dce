"""Handle: the base of every class that owns one native object."""

import os
import warnings
from abc import abstractmethod
from contextlib import ExitStack
from itertools import count
from typing import Any, Generic, Protocol, Self, TypeVar
from weakref import WeakValueDictionary

from llamabind.errors import HandleClosedError
from llamabind.system.closing import Closing

HandleT = TypeVar("HandleT", bound=int)
_creation_order = count()


class Closable(Protocol):
    """Anything that a parent can close."""

    def close(self) -> None:
        """Release owned resources; a second call does nothing."""


class Handle(Closing, Generic[HandleT]):
    """Owns one native object and frees it once, after all objects made from it.

    A parent closes its children first, newest first, so that no C pointer outlives its target. A
    closed object raises HandleClosedError when it is used. The garbage collector only warns
    (ResourceWarning), because it would free on an arbitrary thread. In a forked process close()
    frees nothing: freeing would wait for native threads that do not exist there.
    """

    def __init__(self, handle: HandleT, *parents: "Handle[Any]") -> None:
        self._handle: HandleT | None = handle
        self._pid = os.getpid()
        self._children: WeakValueDictionary[int, Closable] = WeakValueDictionary()
        for parent in parents:
            parent.adopt(self)

    @property
    def ptr(self) -> HandleT:
        """The raw handle, for llamabind's own calls; raises HandleClosedError when closed."""
        if self._handle is None:
            raise HandleClosedError(f"the {type(self).__name__} is closed")
        return self._handle

    @property
    def is_closed(self) -> bool:
        """Whether close() was called."""
        return self._handle is None

    def adopt(self, child: Closable) -> None:
        """Close `child` before this object is freed."""
        self._children[next(_creation_order)] = child

    def close(self) -> None:
        """Free the native object and everything made from it; a second call does nothing."""
        handle, self._handle = getattr(self, "_handle", None), None
        if handle is None:
            return
        with ExitStack() as undo:
            # ExitStack runs all callbacks in reverse order, even if a child fails to close.
            if self._pid == os.getpid():
                undo.callback(self._free, handle)
            for _, child in sorted(self._children.items()):
                undo.callback(child.close)

    @abstractmethod
    def _free(self, handle: HandleT) -> None:
        """Free the native object; called exactly once."""

    def __enter__(self) -> Self:
        _ = self.ptr
        return super().__enter__()

    def __del__(self) -> None:
        if getattr(self, "_handle", None) is not None:
            warnings.warn(
                f"{type(self).__name__} was not closed; its native memory is lost",
                ResourceWarning,
                stacklevel=2,
                source=self,
            )
