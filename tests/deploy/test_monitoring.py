"""Alert rules and dashboard of the chart: they ask for metrics that agents and controller have."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from steppe.agent.health.metrics import Metrics
from steppe.controller.health import Metrics as ControllerMetrics
from steppe.fabric.registry import FABRICS
from tests.deploy.manifest import ROOT

CHART = ROOT / "deploy" / "chart"
ALERTS = yaml.safe_load((CHART / "files" / "alerts.yaml").read_text())
DASHBOARD = json.loads((CHART / "files" / "dashboard.json").read_text())
PANELS = [(panel["title"], panel) for panel in DASHBOARD["panels"]]
RULES = [(rule["alert"], rule) for group in ALERTS["groups"] for rule in group["rules"]]


def exported(registry: CollectorRegistry) -> Iterator[str]:
    """The names of all series, also of metrics that have none yet."""
    suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}
    for metric in registry.collect():
        yield from (f"{metric.name}{suffix}" for suffix in suffixes.get(metric.type, ("",)))


METRICS = {*exported(Metrics().registry), *exported(ControllerMetrics().registry)}
LABELS = {"table", "verb", "direction", "policy", "family", "job"}


def asked(expression: str) -> set[str]:
    return set(re.findall(r"\bsteppe_\w+", expression))


def test_the_metrics_are_found() -> None:
    assert {"steppe_in_sync", "steppe_repairs_total", "steppe_apply_seconds_bucket"} <= METRICS


@pytest.mark.parametrize(("name", "rule"), RULES)
def test_an_alert_asks_for_metrics_that_exist_and_says_what_to_do(
    name: str, rule: dict[str, Any]
) -> None:
    assert asked(rule["expr"])
    assert asked(rule["expr"]) <= METRICS
    assert re.fullmatch("Steppe[A-Z][A-Za-z]+", name)
    assert set(rule["annotations"]) == {"summary", "description"}
    assert re.search(r"steppe |kubectl |the log|Add ", rule["annotations"]["description"])
    used = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
    # Prometheus renames a label `job` of ours, for it has one of its own.
    assert used <= LABELS | {"instance", "exported_job"}


@pytest.mark.parametrize(("title", "panel"), PANELS)
def test_a_panel_asks_for_metrics_that_exist(title: str, panel: dict[str, Any]) -> None:
    assert title
    assert panel["description"].endswith(".")
    for target in panel["targets"]:
        assert asked(target["expr"])
        assert asked(target["expr"]) <= METRICS


def test_every_metric_is_on_the_dashboard() -> None:
    on_it = {name for _, panel in PANELS for t in panel["targets"] for name in asked(t["expr"])}
    base = {re.sub("_(total|bucket|sum|count)$", "", name) for name in METRICS}
    shown = {re.sub("_(total|bucket|sum|count)$", "", name) for name in on_it}
    counted = {"steppe_controller_pod_cidrs_assigned", "steppe_controller_nodes"}
    assert base - shown <= counted | {"steppe_controller_problems"}


def test_the_chart_offers_the_fabrics_that_there_are() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    assert schema["properties"]["fabric"]["enum"] == list(FABRICS)
