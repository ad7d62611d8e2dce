"""The Grafana dashboard asks for metrics and labels that /metrics has."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_aiohttp.plugin import AiohttpClient

from server.http.app_keys import METRICS
from server.monitoring.gpu import GpuDevice, GpuMemory
from server.monitoring.system_metrics import SystemMetrics
from tests.support.gguf_files import write_gguf
from tests.support.paths import ROOT
from tests.support.prometheus_text import Scrape, scrape
from tests.support.promql import parse_promql
from tests.support.server_app import chat_body, make_app, pause

DASHBOARD: dict[str, Any] = json.loads((ROOT / "docs" / "grafana" / "llamabind.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
# Prometheus adds these to every series.
_OF_THE_SCRAPE = {"job", "instance"}
_FUNCTIONS = {"sum", "max", "rate", "increase", "histogram_quantile"}


def _expressions() -> Iterator[Any]:
    for panel in PANELS:
        for target in panel["targets"]:
            name = f"{panel['title']} {target['refId']}"
            yield pytest.param(target["expr"], target["legendFormat"], id=name)


@pytest.fixture(scope="module")
def known() -> dict[str, set[str]]:
    """Filled by the first test: labels by the names of samples."""
    return {}


@pytest.fixture
async def labels(
    known: dict[str, set[str]],
    aiohttp_client: AiohttpClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> dict[str, set[str]]:
    if known:
        return known
    write_gguf(tmp_path / "m.gguf")
    client = await aiohttp_client(make_app(tmp_path))
    monkeypatch.setattr(
        SystemMetrics, "gpus", (GpuDevice(0, "RTX", GpuMemory(1000, 250, 25.0), 50.0),)
    )
    assert (await client.post("/api/v2/chat/m.gguf", json=chat_body("echo: a"))).status == 200
    # Events that a healthy server does not have.
    metrics = client.app[METRICS]
    metrics.refused.labels("m.gguf", "queue_full").inc()
    metrics.crashes.labels("m.gguf").inc()
    metrics.unloads.labels("m.gguf", "idle").inc()
    # The worker reports its figures about once a second.
    while not (seen := await scrape(client)).families["llamabind_requests_running"].samples:
        await pause()
    known |= _labels(seen)
    return known


def _labels(seen: Scrape) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for family in seen.families.values():
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


@pytest.mark.parametrize(("expression", "legend"), [*_expressions()])
async def test_every_expression_names_metrics_and_labels_that_exist(
    expression: str, legend: str, labels: dict[str, set[str]]
):
    parsed = parse_promql(expression)
    assert parsed.functions <= _FUNCTIONS
    assert parsed.metrics
    for name, selected in parsed.metrics:
        assert name in labels
        assert selected - labels[name] - _OF_THE_SCRAPE == set()
        assert parsed.grouped - labels[name] == set()
    shown = set(re.findall(r"{{(\w+)}}", legend))
    # An aggregation keeps only the labels that it groups by.
    is_aggregated = bool(parsed.functions & {"sum", "max"})
    available = parsed.grouped if is_aggregated else labels[parsed.metrics[0][0]]
    assert shown - available == set()


async def test_the_variables_ask_for_labels_that_exist(labels: dict[str, set[str]]):
    queries = [
        one["query"]["query"] for one in DASHBOARD["templating"]["list"] if one["type"] == "query"
    ]
    assert len(queries) == 2
    for query in queries:
        match = re.fullmatch(r"label_values\((\w+), (\w+)\)", query)
        assert match is not None
        assert match[2] in labels[match[1]] | _OF_THE_SCRAPE


def test_every_variable_of_an_expression_is_defined():
    defined = {one["name"] for one in DASHBOARD["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps([panel["targets"] for panel in PANELS])))
    assert used - {"__rate_interval"} == defined


def test_panels_do_not_overlap_and_have_a_description():
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
    assert [panel["title"] for panel in PANELS if not panel["description"].endswith(".")] == []


@pytest.mark.parametrize(
    ("text", "metrics", "grouped"),
    [
        ('sum by (le) (rate(a_bucket{x="}(", y!~"b"}[5m])) > 0.5', [("a_bucket", {"x", "y"})],
         {"le"}),
        ("a / on (x) group_left (y) b:c == bool 1", [("a", set()), ("b:c", set())], {"x", "y"}),
        ("max(a)", [("a", set())], set()),
    ],
)  # fmt: skip
def test_the_reader_of_expressions(text, metrics, grouped):
    parsed = parse_promql(text)
    assert (parsed.metrics, parsed.grouped) == (metrics, grouped)


@pytest.mark.parametrize("text", ["sum(a", "a{x='b'}", "a # b"])
def test_what_is_no_expression_is_refused(text):
    with pytest.raises(ValueError, match=r"unbalanced|not PromQL"):
        parse_promql(text)
