"""What the page says follows from the samples, good or bad."""

import importlib
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[3] / "bench"


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch):
    """The report module; the benchmark is a folder of scripts, not a package."""
    monkeypatch.syspath_prepend(str(BENCH))
    yield importlib.import_module("report")
    for name in ("report", "rows", "samples", "servers", "generator"):
        sys.modules.pop(name, None)


def row(report, bound: float, kind: str = "at least", against: str | None = "peer"):
    """A row with a requirement."""
    requirement = report.Requirement(kind, bound, against)
    return report.Row("r", "title", "unit", "g", ("doorstream", "peer"), lambda *_: None, requirement)


def samples(report, *values: float):
    """Samples of these values."""
    return [report.Sample(value) for value in values]


@pytest.mark.parametrize(
    ("kind", "bound", "expected"),
    [("at least", 2.5, "met"), ("at least", 2.6, "**short**"), ("at most", 2.5, "met"), ("at most", 2.4, "**short**")],
)
def test_the_verdict_compares_the_ratio_of_the_medians(report, kind: str, bound: float, expected: str) -> None:
    """The medians are 25 and 10."""
    servers = {"doorstream": samples(report, 25, 1, 1000), "peer": samples(report, 10, 9, 11)}
    assert report.verdict(row(report, bound, kind), servers) == expected


def test_an_absolute_requirement_looks_at_the_median_itself(report) -> None:
    """As that for durable ingest, which has no peer."""
    one = row(report, 15_000, against=None)
    assert report.verdict(one, {"doorstream": samples(report, 15_000)}) == "met"
    assert report.verdict(one, {"doorstream": samples(report, 14_999)}) == "**short**"


@pytest.mark.parametrize("servers", [{}, {"doorstream": [1.0]}, {"peer": [1.0]}])
def test_a_side_that_was_not_measured_is_never_met(report, servers: dict[str, list[float]]) -> None:
    """A server that failed to start must not pass for a fast one."""
    measured = {name: samples(report, *values) for name, values in servers.items()}
    assert report.verdict(row(report, 0), measured) == "not measured"


def test_the_page_shows_what_falls_short(report) -> None:
    """Median, spread, ratio and the verdict, with the requirement beside them."""
    results = {"r": {"doorstream": samples(report, 150, 140, 160), "peer": samples(report, 100)}}
    line = next(line for line in report.verdict_table([row(report, 2)], results).splitlines() if "title" in line)
    shown = [cell.strip() for cell in line.strip("|").split("|")]
    assert shown[1:] == [
        "150 (140\u2013160)",
        "100 (100\u2013100) peer",
        "1.50 \u00d7",
        "at least 2 \u00d7",
        "**short**",
    ]


def test_the_page_names_the_runs_that_failed(report) -> None:
    """In one line each, whatever the server said."""
    page = report.page([row(report, 2)], {}, {}, runs=5, failures=["r on doorstream: it\nfell over"])
    assert "* failed: r on doorstream: it fell over\n" in page
    assert "failed" not in report.page([row(report, 2)], {}, {}, runs=5)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.5, "0.5"), (9.99, "9.99"), (123.4, "123"), (14_999, "15.0 k"), (165_432, "165 k"), (3_456_000, "3.46 M")],
)
def test_numbers_have_three_digits(report, value: float, text: str) -> None:
    """More would claim more than was measured."""
    assert report.number(value) == text
