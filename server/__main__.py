"""`python -m server`: read the command line, set up the log, serve."""

import asyncio
import os
import sys
from collections.abc import Sequence

from llamabind.errors import is_out_of_memory
from server.cli.parser import parse_command_line
from server.errors import ApiError
from server.hub_start import with_hub_model
from server.logs import start_logging, stop_logging
from server.monitoring.rpc_check import check_rpc_servers
from server.serving import serve
from server.sockets import ListenError


def main(arguments: Sequence[str] | None = None, program: str = "python -m server") -> int:
    """Run the server with these arguments, by default the process's; returns the exit status, 1 if
    it cannot start. A wrong flag exits with 2. Messages and --help call the server `program`.
    """
    config = parse_command_line(arguments, program=program)
    try:
        if config.cpus:
            # Workers inherit the CPUs, and count only these for their threads.
            os.sched_setaffinity(0, config.cpus)
        start_logging(config)
        check_rpc_servers(config)
        config = asyncio.run(with_hub_model(config))
        asyncio.run(serve(config))
    except (ListenError, OSError, ApiError) as error:
        print(error, file=sys.stderr)
        return 1
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        print(f"the server has no memory left (limits: ulimit -v): {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        # While a model is downloaded; later the server handles the signal.
        return 130
    finally:
        stop_logging()
    return 0


if __name__ == "__main__":
    sys.exit(main())
