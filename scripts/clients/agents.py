"""The coding agents: how each is pointed at the server and run without a terminal."""

import base64
import json

from clients.client import Agent, Call, Task

MARKER = "marker-4821"
NOTE = f"The secret word is {MARKER}."
PICTURE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
"""A PNG file of one pixel."""

TASKS = (
    Task("read", "Read note.txt and tell me the secret word.", MARKER),
    Task("write", "Write the secret word into copy.txt.", "", "copy.txt"),
    Task("resume", "Read note.txt once more.", MARKER, resumes=True),
    # The sub-agent's prompt is that of the first task, so its answer has the marker.
    Task("delegate", "Let an agent find the secret word.", MARKER),
    Task("image", "Look at picture.png.", "The tool has answered"),
    Task("discover", "Which tool can search the web?", "The tool has answered"),
)


def _file_tools(path: str, read: str, write: str) -> dict[str, tuple[Call, ...]]:
    """Calls of tools that take a path in the field `path`."""
    reads = ((read, {path: "{work}/note.txt"}),)
    writes = ((write, {path: "{work}/copy.txt", "content": NOTE}),)
    images = ((read, {path: "{work}/picture.png"}),)
    return {"read": reads, "write": writes, "resume": reads, "image": images}


def _delegate(name: str, **more: str | bool) -> tuple[Call, ...]:
    return ((name, {"description": "Find the word", "prompt": TASKS[0].prompt, **more}),)


def _shell_tools() -> dict[str, tuple[Call, ...]]:
    """Calls of Codex's tools: a shell, or for its own models a program that calls the shell."""

    def calls(command: str) -> tuple[Call, ...]:
        program = f"text(await tools.exec_command({{cmd: '{command}'}}))"
        return ("exec_command", {"cmd": command}), ("exec", {"input": program})

    reads = calls("cat note.txt")
    image = {"path": "{work}/picture.png"}
    program = f"image(await tools.view_image({json.dumps(image)}))"
    return {
        "read": reads,
        "write": calls("cp note.txt copy.txt"),
        "resume": reads,
        "image": (("view_image", image), ("exec", {"input": program})),
    }


_CODEX_PROVIDER = """
model_provider = "llamabind"

[model_providers.llamabind]
name = "llamabind"
base_url = "{base_url}/v1"
wire_api = "responses"
"""
_CODEX_URL = 'openai_base_url = "{base_url}/v1"\n'
_CODEX_KEY = {"OPENAI_API_KEY": "none", "CODEX_API_KEY": "none"}
_CODEX = ("codex", "exec", "--skip-git-repo-check", "--sandbox", "danger-full-access")
_OSS = ("--oss", "--local-provider", "ollama", "-m", "{model}")

_OPENCODE_SETTINGS = """{
  "$schema": "https://opencode.ai/config.json",
  "provider": {
    "local": {
      "npm": "@ai-sdk/openai-compatible",
      "options": { "baseURL": "{base_url}/v1" },
      "models": { "{model}": {} }
    }
  },
  "model": "local/{model}"
}
"""


_EDIT = f"copy.txt\n```\n<<<<<<< SEARCH\n=======\n{NOTE}\n>>>>>>> REPLACE\n```\n"
_CONTINUE_SETTINGS = """
name: local
version: 1.0.0
schema: v1
models:
  - name: llamabind
    provider: openai
    model: {model}
    apiBase: {base_url}/v1
    apiKey: none
    roles: [chat]
    capabilities: [tool_use]
"""


def _codex(name: str, settings: str = "", *options: str, key: bool = False) -> Agent:
    return Agent(
        name,
        "agents",
        "@openai/codex",
        start=(*_CODEX, *options, "{prompt}"),
        resume=(*_CODEX, *options, "resume", "--last", "{prompt}"),
        calls=_shell_tools(),
        variables=_CODEX_KEY if key else {"CODEX_OSS_BASE_URL": "{base_url}/v1"},
        files={"~/.codex/config.toml": settings},
    )


AGENTS = (
    Agent(
        "claude-code",
        "agents",
        "@anthropic-ai/claude-code",
        start=("claude", "-p", "{prompt}", "--permission-mode", "acceptEdits"),
        resume=("claude", "--continue", "-p", "{prompt}"),
        calls={
            **_file_tools("file_path", "Read", "Write"),
            "delegate": _delegate("Agent", run_in_background=False),
            "discover": (("ToolSearch", {"query": "select:WebSearch"}),),
        },
        variables={"ANTHROPIC_BASE_URL": "{base_url}", "ANTHROPIC_AUTH_TOKEN": "none"},
    ),
    _codex("codex", 'model = "{model}"\n' + _CODEX_PROVIDER),
    # Without `model`, Codex sends the name and the tools of its newest own model.
    _codex("codex-default-model", _CODEX_PROVIDER),
    _codex("codex-base-url", _CODEX_URL, key=True),
    _codex("codex-oss", "", *_OSS),
    Agent(
        "opencode",
        "agents",
        "opencode-ai",
        start=("opencode", "run", "{prompt}"),
        resume=("opencode", "run", "--continue", "{prompt}"),
        calls={
            **_file_tools("filePath", "read", "write"),
            "delegate": _delegate("task", subagent_type="general"),
        },
        files={"opencode.json": _OPENCODE_SETTINGS},
    ),
    Agent(
        "qwen-code",
        "agents",
        "@qwen-code/qwen-code",
        start=("qwen", "-p", "{prompt}", "--approval-mode", "auto-edit"),
        resume=("qwen", "--continue", "-p", "{prompt}"),
        calls={
            **_file_tools("file_path", "read_file", "write_file"),
            "delegate": _delegate("agent", run_in_background=False),
            "discover": (("tool_search", {"query": "web"}),),
        },
        variables={
            "OPENAI_BASE_URL": "{base_url}/v1",
            "OPENAI_API_KEY": "none",
            "OPENAI_MODEL": "{model}",
        },
    ),
    Agent(
        "continue",
        "continue",
        "@continuedev/cli",
        start=("cn", "--config", "{work}/config.yaml", "--auto", "-p", "{prompt}"),
        resume=("cn", "--config", "{work}/config.yaml", "--auto", "--resume", "-p", "{prompt}"),
        calls=_file_tools("filepath", "Read", "Write"),
        files={"config.yaml": _CONTINUE_SETTINGS},
    ),
    # Without tools: the answer's text is the edit.
    Agent(
        "aider",
        "aider",
        "aider-chat",
        start=(
            *("aider", "--model", "openai/{model}", "--edit-format", "diff", "--no-git"),
            *("--yes-always", "--no-check-update", "--message", "{prompt}"),
        ),
        calls={"write": (("", {"text": _EDIT}),)},
        variables={"OPENAI_API_BASE": "{base_url}/v1", "OPENAI_API_KEY": "none"},
        is_node=False,
    ),
)
