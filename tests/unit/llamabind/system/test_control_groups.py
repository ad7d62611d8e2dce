"""control_groups: a container's share of the CPUs, in both versions of Linux's interface."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from llamabind.engine.config import EngineConfig
from llamabind.system import cpus
from llamabind.system.control_groups import cpu_quota
from llamabind.system.cpus import usable_cores


def _write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(f"{text}\n")


@pytest.mark.parametrize(
    ("cpu_max", "n_cpus"),
    [
        ("200000 100000", 2),
        ("250000 100000", 3),
        ("50000 100000", 1),
        ("1000 100000", 1),
        ("max 100000", None),
        ("200000", None),
        ("rubbish at all", None),
        ("0 100000", None),
        ("100000 0", None),
        ("", None),
    ],
)
def test_a_quota_is_rounded_up(tmp_path, cpu_max, n_cpus):
    (tmp_path / "own").write_text("0::/a\n")
    _write(tmp_path / "a", cpu__max=cpu_max)
    assert cpu_quota(tmp_path, tmp_path / "own") == n_cpus


def test_the_smallest_of_a_group_and_its_parents_counts(tmp_path):
    (tmp_path / "own").write_text("0::/a/b\n")
    _write(tmp_path / "a", cpu__max="150000 50000")
    _write(tmp_path / "a" / "b", cpu__max="800000 100000")
    assert cpu_quota(tmp_path, tmp_path / "own") == 3


def test_inside_a_container_the_own_group_is_the_root(tmp_path):
    (tmp_path / "own").write_text("4:cpu,cpuacct:/docker/0123\n3:memory:/docker/0123\n")
    _write(tmp_path / "cpu", cpu__cfs_quota_us="400000", cpu__cfs_period_us="100000")
    assert cpu_quota(tmp_path, tmp_path / "own") == 4


def test_version_one_has_a_negative_quota_without_a_limit(tmp_path):
    (tmp_path / "own").write_text("4:cpu,cpuacct:/x\n")
    _write(tmp_path / "cpu" / "x", cpu__cfs_quota_us="-1", cpu__cfs_period_us="100000")
    assert cpu_quota(tmp_path, tmp_path / "own") is None


def test_without_groups_there_is_no_quota(tmp_path):
    assert cpu_quota(tmp_path, tmp_path / "none") is None


def test_an_engine_begins_with_no_more_threads_than_its_share(monkeypatch):
    monkeypatch.setattr(psutil, "cpu_count", lambda logical: 64)
    monkeypatch.setattr(cpus, "usable_cpus", lambda: 48)
    monkeypatch.setattr(cpus, "cpu_quota", lambda: None)
    assert usable_cores() == 48
    monkeypatch.setattr(cpus, "cpu_quota", lambda: 2)
    params = EngineConfig().context_params(1024, retains=True)
    assert (params.n_threads, params.n_threads_batch) == (2, 2)
    given = EngineConfig(n_threads=8).context_params(1024, retains=True)
    assert given.n_threads == 8
