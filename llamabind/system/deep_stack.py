"""Calls a function on a stack of a given size, for native code that recurses over its input."""

import threading
from collections.abc import Callable
from typing import Final, TypeVar

_Result = TypeVar("_Result")

_GRANULE: Final = 1 << 20
# threading.stack_size() applies to the whole process, so only one thread may change it at a time.
_lock = threading.Lock()


def call_with_stack(n_bytes: int, function: Callable[[], _Result]) -> _Result:
    """Call `function` on a new thread with a stack of `n_bytes`; return or raise its result.

    Only the touched part of the stack takes memory. Raises MemoryError if it cannot be allocated.
    """
    results: list[_Result] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(function())
        except BaseException as error:  # noqa: BLE001 - raised again on the caller's thread
            errors.append(error)

    thread = threading.Thread(target=run, name="llamabind-deep-stack")
    with _lock:
        previous = threading.stack_size(-(-n_bytes // _GRANULE) * _GRANULE)
        try:
            thread.start()
        except RuntimeError as error:
            raise MemoryError(f"a stack of {n_bytes} bytes cannot be allocated") from error
        finally:
            threading.stack_size(previous)
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
