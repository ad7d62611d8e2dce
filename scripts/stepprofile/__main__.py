"""The command line of scripts/profile_step."""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from make_random_model import SHAPES, random_model

from llamabind import SamplingParams
from stepprofile.engine_part import Case, StepTimes, time_steps
from stepprofile.phases import PHASES
from stepprofile.server_part import ServerTimes, make_shots, time_server

_LONG_STRING: dict[str, object] = {"type": "string", "minLength": 4000}
_HEAD = "sequences  step ms  " + "  ".join(f"{phase:>10}" for phase in (*PHASES, "total"))


def main() -> None:
    """Print one line for each number of sequences, for the engine and then for the server."""
    arguments = _arguments()
    model = (arguments.model or random_model(arguments.shape)).absolute()
    schema = _LONG_STRING if arguments.schema else None
    sampling = json.loads(arguments.sampling)
    print(f"{model.name}: microseconds of the engine thread's CPU time for a generated token")
    print(_HEAD)
    for n in arguments.sequences:
        case = Case(n, arguments.prompt, arguments.tokens, SamplingParams(**sampling), schema)
        print(_engine_line(n, time_steps(model, case, arguments.threads)), flush=True)
    if arguments.engine_only:
        return
    fields: dict[str, Any] = dict(sampling)
    if schema is not None:
        fields["response_format"] = _response_format(schema)
    print("\nover HTTP: microseconds of CPU time for a token beside the engine thread")
    print("sequences  answers   HTTP process  worker's other threads  tokens/s")
    with tempfile.TemporaryDirectory(prefix="profile-") as folder:
        for n in arguments.sequences:
            for is_streamed in (True, False):
                shots = make_shots(n, arguments.tokens, fields, is_streamed=is_streamed)
                n_ctx = n * (arguments.tokens + 128)
                log = Path(folder) / "log"
                times = time_server(model, log, shots, n_ctx, arguments.threads)
                print(_server_line(n, times, is_streamed=is_streamed), flush=True)


def _engine_line(n: int, times: StepTimes) -> str:
    step = sum(times.wall.values()) * times.n_tokens / times.n_steps / 1e3
    total = sum(times.cpu.values())
    values = [*(times.cpu.get(phase, 0.0) for phase in PHASES), total]
    shares = [f"{value:.1f}/{100 * value / total:.0f}%" for value in values[:-1]]
    return f"{n:9}  {step:7.2f}  " + "  ".join(f"{text:>10}" for text in (*shares, f"{total:.1f}"))


def _server_line(n: int, times: ServerTimes, *, is_streamed: bool) -> str:
    kind = "streamed" if is_streamed else "whole"
    return f"{n:9}  {kind:8}{times.http:14.1f}{times.worker:24.1f}{times.rate:10.0f}"


def _response_format(schema: dict[str, object]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/profile_step",
        description="Print where the time of a step goes: decode, sampling, token masks, "
        "scheduling, output, and the HTTP process. CPU time depends little on what else runs.",
    )
    parser.add_argument("--model", type=Path, metavar="FILE", help="GGUF file with a chat template")
    parser.add_argument(
        "--shape", choices=SHAPES, default="tiny", help="random model without --model; default tiny"
    )
    parser.add_argument(
        "--sequences",
        type=int,
        nargs="+",
        default=[1, 16, 64, 128],
        metavar="N",
        help="numbers of sequences that decode at once; default 1 16 64 128",
    )
    parser.add_argument(
        "--prompt", type=int, default=16, metavar="N", help="prompt tokens; default 16"
    )
    parser.add_argument(
        "--tokens", type=int, default=64, metavar="N", help="tokens of each; default 64"
    )
    parser.add_argument("--threads", "-t", type=int, default=1, help="compute threads; default 1")
    parser.add_argument(
        "--sampling",
        default="{}",
        metavar="JSON",
        help='sampling parameters, such as {"temperature": 0.8, "top_k": 40}',
    )
    parser.add_argument("--schema", action="store_true", help="answers follow a JSON schema")
    parser.add_argument("--engine-only", action="store_true", help="start no server")
    return parser.parse_args()


if __name__ == "__main__":
    main()
