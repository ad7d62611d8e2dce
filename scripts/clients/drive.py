"""Runs one client and returns the results of its checks."""

import json
import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from clients.agents import NOTE, PICTURE, TASKS
from clients.cache import node_environment, python_environment, tools
from clients.client import Agent, Library, Result, Task
from clients.server import ENCODER, MODEL, Server, agent_server, library_server

_SCRIPTS = Path(__file__).parents[1]
_TIME_LIMIT_SECONDS = 300.0
_RESULT = "RESULT "
# A proxy that refuses everything: no client may speak to another host than the server.
_NOWHERE = "http://127.0.0.1:9"
_ISOLATION = {
    **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), _NOWHERE),
    **dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1"),
}


def drive(client: Agent | Library, folder: Path) -> tuple[list[Result], Server]:
    """Run the checks of a client against a server of its own; `folder` is empty."""
    install(client)
    if isinstance(client, Agent):
        return _drive_agent(client, folder)
    with library_server(folder) as server:
        return list(_library_results(client, server, folder)), server


def install(client: Agent | Library) -> None:
    """Install what the client needs, which takes minutes the first time."""
    if client.is_node:
        node_environment(client.environment)
    else:
        python_environment(client.environment)


def version_of(environment: str, package: str, *, is_node: bool) -> str:
    """The installed version of a package."""
    if is_node:
        file = node_environment(environment) / "node_modules" / package / "package.json"
        return str(json.loads(file.read_text())["version"])
    python = python_environment(environment) / "bin/python"
    question = f"from importlib.metadata import version; print(version({package!r}))"
    return subprocess.run([python, "-c", question], capture_output=True, text=True).stdout.strip()


def _library_results(library: Library, server: Server, folder: Path) -> Iterator[Result]:
    home = _made(folder / "home")
    if library.is_node:
        command = [str(tools() / "node"), library.script, *library.arguments]
        work = node_environment(library.environment)
    else:
        python = python_environment(library.environment) / "bin/python"
        command = [str(python), "-m", f"clients.checks.{library.script}", *library.arguments]
        work = home
    variables = {
        "PYTHONPATH": str(_SCRIPTS),
        "CLIENTS_BASE_URL": server.base_url,
        "CLIENTS_MODEL": MODEL,
        "CLIENTS_EMBEDDING_MODEL": ENCODER,
        "LLM_USER_PATH": str(home),
    }
    start = time.monotonic()
    output = _run(command, work, home, variables)
    lines = [line for line in output.splitlines() if line.startswith(_RESULT)]
    if not lines:
        yield Result("start", output[-2000:], time.monotonic() - start)
    for line in lines:
        yield Result(**json.loads(line.removeprefix(_RESULT)))


def _drive_agent(agent: Agent, folder: Path) -> tuple[list[Result], Server]:
    home, work = _made(folder / "home"), _made(folder / "work")
    (work / "note.txt").write_text(NOTE + "\n")
    (work / "picture.png").write_bytes(PICTURE)
    tasks = [task for task in TASKS if task.check in agent.calls]
    script = {task.prompt: agent.calls[task.check] for task in tasks}
    calls = json.loads(_filled(json.dumps(script), {"work": str(work)}))
    with agent_server(folder, calls) as server:
        values = {"base_url": server.base_url, "model": MODEL, "work": str(work)}
        for name, text in agent.files.items():
            file = home / name[2:] if name.startswith("~/") else work / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(_filled(text, values))
        return [_task_result(agent, task, home, work, values) for task in tasks], server


def _task_result(
    agent: Agent, task: Task, home: Path, work: Path, values: Mapping[str, str]
) -> Result:
    values = {**values, "prompt": task.prompt}
    command = agent.resume if task.resumes else agent.start
    variables = {name: _filled(text, values) for name, text in agent.variables.items()}
    path = f"{_programs(agent)}:{tools()}:{os.defpath}"
    start = time.monotonic()
    output = _run([_filled(word, values) for word in command], work, home, variables, path)
    error = "" if task.answer in output else f"answered {output[-2000:]!r}"
    if not error and task.file:
        file = work / task.file
        found = file.read_text().strip() if file.exists() else "no file"
        error = "" if found == NOTE else f"{task.file} has {found!r}"
    return Result(task.check, error, time.monotonic() - start)


def _programs(agent: Agent) -> Path:
    if agent.is_node:
        return node_environment(agent.environment) / "node_modules/.bin"
    return python_environment(agent.environment) / "bin"


def _run(
    command: Sequence[str],
    work: Path,
    home: Path,
    variables: Mapping[str, str],
    path: str = os.defpath,
) -> str:
    """Run a client with nothing of the user's environment; its output."""
    # Codex refuses to write below the system's folder for temporary files; another name helps.
    own = {"HOME": str(home), "PATH": path, "TMPDIR": str(_made(home / "tmp")), "LANG": "C.UTF-8"}
    if "CLIENTS_TRACEBACKS" in os.environ:
        own["CLIENTS_TRACEBACKS"] = "1"
    try:
        done = subprocess.run(
            command,
            cwd=work,
            env={**own, **_ISOLATION, **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_TIME_LIMIT_SECONDS,
            text=True,
            errors="replace",
        )
    except subprocess.TimeoutExpired as error:
        text = error.stdout or b""
        return f"no end within {_TIME_LIMIT_SECONDS:g} s: {text!r}"
    return done.stdout


def _filled(text: str, values: Mapping[str, str]) -> str:
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", value)
    return text


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def as_json(results: Sequence[Result]) -> list[dict[str, Any]]:
    """The results for a file."""
    return [{"check": r.check, "error": r.error, "seconds": round(r.seconds, 1)} for r in results]
