"""Tests that wait for a state pause between two looks, so that they do not keep a core busy."""

import ast

from tests.support.paths import ROOT

_TESTS = ROOT / "tests"


def test_every_polling_loop_pauses() -> None:
    spinning = [
        f"{file.relative_to(_TESTS)}:{loop.lineno}"
        for file in _TESTS.rglob("*.py")
        for loop in ast.walk(ast.parse(file.read_text()))
        if isinstance(loop, ast.While) and _spins(loop)
    ]
    assert spinning == [], "pause in these loops, as server_app.pause() does"


def test_a_polling_loop_without_a_pause_is_found() -> None:
    assert _spins(_loop("while (await get(client))['running'] != 1:\n    pass"))
    assert not _spins(_loop("while (await get(client))['running'] != 1:\n    await pause()"))
    assert not _spins(_loop("while line := await response.readline():\n    seen.append(line)"))
    assert not _spins(_loop("while event != wanted:\n    event = await next_event()"))


def _loop(source: str) -> ast.While:
    [loop] = ast.parse(source).body
    assert isinstance(loop, ast.While)
    return loop


def _spins(loop: ast.While) -> bool:
    """Whether a loop asks a server before each round without a pause. Reads wait by themselves."""
    asks = any(isinstance(node, ast.Await) for node in ast.walk(loop.test))
    reads = any(name.startswith(("read", "sock_recv")) for name in _called(loop.test))
    pauses = any({"pause", "sleep"} & set(_called(node)) for node in loop.body)
    return asks and not reads and not pauses


def _called(part: ast.AST) -> list[str]:
    calls = [node for node in ast.walk(part) if isinstance(node, ast.Call)]
    return [getattr(call.func, "attr", getattr(call.func, "id", "")) for call in calls]
