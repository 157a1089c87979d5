"""The board of Grafana: well-formed, and about metrics that there are."""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector

from doorstream.server.metrics import METRICS

BOARD = Path(__file__).parents[2] / "deploy" / "grafana" / "doorstream.json"
BY_SAMPLE = {f"{each.name}_total" if each.kind == "counter" else each.name: each for each in METRICS}
NAMES = re.compile(r"\b(?:doorstream|process)_\w+")


def board() -> dict[str, Any]:
    """The file."""
    parsed: dict[str, Any] = json.loads(BOARD.read_text())
    return parsed


def expressions() -> list[str]:
    """Everything that is asked of Prometheus."""
    targets = [target for panel in board()["panels"] for target in panel.get("targets", ())]
    asked = [variable["definition"] for variable in board()["templating"]["list"] if "definition" in variable]
    return [target["expr"] for target in targets] + asked


def test_every_metric_of_the_board_exists() -> None:
    """And so do the labels by which it tells them apart."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    process = {sample.name for family in registry.collect() for sample in family.samples}
    for expression in expressions():
        names = NAMES.findall(expression)
        assert names, expression
        for name in names:
            assert name in BY_SAMPLE or name in process, f"{name} in {expression}"
        known = {label for name in names if name in BY_SAMPLE for label in BY_SAMPLE[name].labels}
        labels = set(re.findall(r"(\w+)=~?\"", expression))
        labels |= {label.strip() for each in re.findall(r"by \(([^)]*)\)", expression) for label in each.split(",")}
        assert labels <= known | {"instance", "worker"}, expression


def test_every_metric_is_on_the_board() -> None:
    """A metric that nobody sees is worth little: show it, or say here why not."""
    shown = {name for expression in expressions() for name in NAMES.findall(expression)}
    assert set(BY_SAMPLE) - shown == set()


def test_counters_are_shown_as_rates() -> None:
    for expression in expressions():
        for name in NAMES.findall(expression):
            if name in BY_SAMPLE and BY_SAMPLE[name].kind == "counter":
                assert re.search(rf"(rate|increase)\({name}\b", expression), expression


def test_the_board_is_whole() -> None:
    """Panels have a title, a text, an id of their own and a place of their own; brackets are balanced."""
    panels = board()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        assert panel["title"]
        assert panel["type"] in ("row", "stat", "timeseries")
        assert panel["type"] == "row" or (panel["description"] and panel["targets"])
        assert all(target["datasource"]["uid"] == "${source}" for target in panel.get("targets", ()))
    places = [panel["gridPos"] for panel in panels]
    for one, other in combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or above, (one, other)
    assert all(place["x"] + place["w"] <= 24 for place in places)
    for expression in expressions():
        for opened, closed in ("()", "{}", "[]"):
            assert expression.count(opened) == expression.count(closed), expression
