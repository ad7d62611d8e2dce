"""ForkedWorker: a WorkerProcess that is a fork, since tests start more than a thousand."""

import os
from collections.abc import Mapping, Sequence

from server.supervisor.process import ChildProcess, WorkerProcess
from tests.support.forks import Fork, pipe_reader


class ForkedWorker(WorkerProcess):
    """A fake worker; the command is not used."""

    @staticmethod
    async def spawn(
        command: Sequence[str], descriptor: int, environment: Mapping[str, str]
    ) -> ChildProcess:
        """Fork a fake worker that gets `descriptor` and `environment`."""
        read_fd, write_fd = os.pipe()
        stdout, pipe = await pipe_reader(read_fd)
        try:
            fork = await Fork.start("worker", [write_fd, descriptor], environment)
        except BaseException:
            pipe.close()
            raise
        finally:
            os.close(write_fd)
        fork.stdout = stdout
        return fork
