"""The variables with which Ray runs."""

import os
from pathlib import Path

import pytest

from server.cluster.environment import set_defaults


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A home of its own, and an environment without Ray's variables, restored at the end."""
    monkeypatch.setattr(os, "environ", {"HOME": str(tmp_path)})
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    return tmp_path


def test_a_users_own_values_are_kept() -> None:
    os.environ["RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S"] = "7"
    set_defaults()
    assert os.environ["RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S"] == "7"
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
    assert "RAY_AUTH_MODE" not in os.environ


def test_the_token_of_a_user_or_a_variable_is_used(home: Path) -> None:
    (home / ".ray").mkdir()
    (home / ".ray" / "auth_token").write_text("token")
    set_defaults()
    assert os.environ["RAY_AUTH_MODE"] == "token"

    os.environ["RAY_AUTH_MODE"] = "disabled"
    set_defaults()
    assert os.environ["RAY_AUTH_MODE"] == "disabled"


def test_a_token_in_a_variable_is_used() -> None:
    os.environ["RAY_AUTH_TOKEN"] = "token"
    set_defaults()
    assert os.environ["RAY_AUTH_MODE"] == "token"
