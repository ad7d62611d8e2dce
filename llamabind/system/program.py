"""run_program: runs the main function of a program, whose imports take a moment."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from llamabind.errors import is_out_of_memory
from llamabind.system.address_space import no_memory_left

if TYPE_CHECKING:
    from collections.abc import Callable

INTERRUPTED: Final = 130
"""128 and the number of SIGINT, as shells have it."""


def run_program(main: Callable[[], int]) -> int:
    """Return the exit status of `main()`, which imports what it needs.

    Ctrl-C and a lack of memory end the program without a traceback.
    """
    try:
        return main()
    except KeyboardInterrupt:
        return INTERRUPTED
    except (MemoryError, RuntimeError, ImportError, OSError) as error:
        if not is_out_of_memory(error):
            raise
        print(no_memory_left(error), file=sys.stderr)
        return 1
