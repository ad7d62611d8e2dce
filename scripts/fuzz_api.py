"""Starts a server and sends requests that schemathesis derives from its OpenAPI description.

    python scripts/fuzz_api.py [--seconds 120] [--seed N] [--quick]

--quick sends a few random requests to each operation and takes some seconds.

Exit status 0: no response was a 500, and all had a status, type and schema of the description.
"""

import argparse
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MODEL = "tiny-chat.gguf"
# A load may request any settings: those that do not fit must fail instead of using all memory.
MEMORY_BYTES = 8 << 30
QUICK_EXAMPLES = 6
CHECKS = ",".join(
    (
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_schema_conformance",
    )
)
# Event streams never end. OpenAPI cannot express that a probe's 503 is an expected response.
CONFIG = f"""
[parameters]
"path.model_id" = "{MODEL}"

[generation]
database = "none"

[checks.not_a_server_error]
expected-statuses = ["2xx", "4xx", 501, 503, 504, 507]

[[operations]]
include-path = "/api/v2/events"
enabled = false

[[operations]]
include-path = "/models/sse"
enabled = false
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=120)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(ROOT / "llamabind" / "models" / MODEL, folder)
        config = folder / "schemathesis.toml"
        config.write_text(CONFIG)
        server = _start(folder)
        try:
            assert server.stdout is not None
            line = server.stdout.readline()
            status = 1
            if "serves " in line:
                url = line.split("serves ")[1].split()[0]
                command = _command(url, config, arguments)
                status = subprocess.run(command, check=False).returncode
            if server.poll() is not None or not line:
                print(f"the server ended:\n{(folder / 'server.log').read_text()}")
                return 1
        finally:
            server.terminate()
            server.wait()
    return status


def _start(folder: Path) -> subprocess.Popen[str]:
    # A context of 512 tokens keeps every answer short, whatever n_predict is.
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "server", "--port", "0", "--models-dir", str(folder)),
            *("--ctx-size", "512", "--threads", "1", "--load-timeout", "10"),
            # Nothing may be asked of a real hub, nor deleted from this machine's cache.
            *("--offline", "--hub-cache", str(folder / "hub")),
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=(folder / "server.log").open("wb"),
        text=True,
        preexec_fn=_limit_memory,
    )


def _limit_memory() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))


def _command(url: str, config: Path, arguments: argparse.Namespace) -> list[str]:
    extent = ["--phases", "coverage,fuzzing", "--max-time", str(arguments.seconds)]
    if arguments.quick:
        # Without a time limit: schemathesis would use all of it.
        extent = ["--phases", "fuzzing", "--max-examples", str(QUICK_EXAMPLES)]
    return [
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "run"),
        f"{url}/api/v2/openapi.json",
        *("--checks", CHECKS, *extent),
        *("--seed", str(arguments.seed), "--request-timeout", "60", "--warnings", "off"),
        *("--suppress-health-check", "all"),
    ]


if __name__ == "__main__":
    sys.exit(main())
