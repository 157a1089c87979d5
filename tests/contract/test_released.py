"""What a release promised, the next one keeps: no part of the newest released documents disappears."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from contract_support import DOCS, Made
from promises import broken, may_break, newest, version

from doorstream import __version__

RELEASED = DOCS / "api" / "released"
NAMES = ("openapi", "asyncapi")


def numbers(text: str) -> str:
    """The three numbers of a version that may have something behind them."""
    return ".".join(text.replace("-", ".").replace("+", ".").split(".")[:3])


@pytest.mark.parametrize("name", NAMES)
def test_what_the_last_release_promised_is_there(made: Made, name: str) -> None:
    """Bring it back, or see docs/api/released/README.md. Before the first release there is nothing to compare with."""
    release = newest(RELEASED)
    if release is None or may_break(release.name, numbers(__version__)):
        return
    before = json.loads((release / f"{name}.json").read_text())
    assert broken(before, made.openapi if name == "openapi" else made.asyncapi) == []


def test_every_release_is_whole() -> None:
    """Two documents, and a folder named as a version."""
    for release in RELEASED.iterdir():
        if release.name != "README.md":
            assert version(release.name) <= version(numbers(__version__))
            assert sorted(each.name for each in release.iterdir()) == sorted(f"{name}.json" for name in NAMES)


def test_versions(tmp_path: Path) -> None:
    assert newest(tmp_path) is None
    for name in ("0.9.0", "0.10.0", "0.10.2"):
        (tmp_path / name).mkdir()
    (tmp_path / "README.md").touch()
    assert newest(tmp_path) == tmp_path / "0.10.2"
    assert [may_break("0.10.2", now) for now in ("0.10.3", "0.11.0", "1.0.0")] == [False, True, True]
    assert [may_break("1.4.0", now) for now in ("1.4.1", "1.5.0", "2.0.0")] == [False, False, True]


DOORS: dict[str, Any] = {
    "openapi": "3.1.0",
    "paths": {
        "/doors": {
            "get": {
                "parameters": [{"in": "query", "name": "limit"}],
                "responses": {"200": {"$ref": "#/components/responses/Doors"}, "404": {"description": "None."}},
            },
            "post": {
                "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Door"}}}},
                "responses": {"201": {"description": "Made.", "content": {"text/plain": {}}}},
            },
        }
    },
    "components": {
        "responses": {
            "Doors": {
                "content": {
                    "application/json": {
                        "schema": {"type": "array", "items": {"$ref": "#/components/schemas/Door"}},
                    }
                }
            }
        },
        "schemas": {
            "Door": {
                "properties": {
                    "name": {"type": "string"},
                    "beside": {"anyOf": [{"$ref": "#/components/schemas/Door"}, {"type": "null"}]},
                    "lock": {"allOf": [{"properties": {"state": {"type": "string"}}}]},
                },
                "required": ["name"],
            }
        },
    },
}
STREAMS: dict[str, Any] = {
    "asyncapi": "3.1.0",
    "channels": {"doors": {"address": "/doors", "messages": {"opened": {"$ref": "#/components/messages/opened"}}}},
    "operations": {"sendDoors": {}},
    "components": {"messages": {"opened": {"payload": {"properties": {"id": {}, "at": {}}}}}},
}
Change = Callable[[Any], object]


def door_of(document: Any) -> Any:
    """The schema of a door."""
    return document["components"]["schemas"]["Door"]


def doors_of(document: Any, method: str = "get") -> Any:
    """An operation."""
    return document["paths"]["/doors"][method]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda it: it["paths"].pop("/doors"), ["/doors"]),
        (lambda it: it["paths"]["/doors"].pop("post"), ["POST /doors"]),
        (lambda it: doors_of(it)["parameters"].pop(), ["GET /doors: parameter limit"]),
        (
            lambda it: doors_of(it)["parameters"].append({"in": "query", "name": "site", "required": True}),
            ["GET /doors: parameter site is required now"],
        ),
        (lambda it: doors_of(it)["responses"].pop("404"), ["GET /doors: 404"]),
        (lambda it: doors_of(it, "post")["responses"]["201"].pop("content"), ["POST /doors: 201 text/plain"]),
        (lambda it: doors_of(it, "post").pop("requestBody"), ["POST /doors: body application/json"]),
        (
            lambda it: door_of(it)["properties"].pop("name"),
            ["GET /doors: 200 application/json: [].name", "POST /doors: body application/json: name"],
        ),
        (
            lambda it: door_of(it)["properties"]["lock"]["allOf"][0]["properties"].pop("state"),
            ["GET /doors: 200 application/json: [].lock.state", "POST /doors: body application/json: lock.state"],
        ),
        (
            lambda it: door_of(it)["required"].append("lock"),
            ["POST /doors: body application/json: lock is required now"],
        ),
        (lambda it: doors_of(it, "post")["requestBody"].update(required=True), ["POST /doors: body is required now"]),
    ],
)
def test_what_is_taken_away_is_told(change: Change, told: list[str]) -> None:
    """Of a small document, so that it is tried before there is a release."""
    now = copy.deepcopy(DOORS)
    change(now)
    assert sorted(broken(DOORS, now)) == sorted(told)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda it: it["channels"].pop("doors"), ["channels: doors"]),
        (lambda it: it["operations"].pop("sendDoors"), ["operations: sendDoors"]),
        (lambda it: it["channels"]["doors"].update(address="/gates"), ["channels: doors: address /doors"]),
        (lambda it: it["channels"]["doors"]["messages"].pop("opened"), ["channels: doors: opened"]),
        (
            lambda it: it["components"]["messages"]["opened"]["payload"]["properties"].pop("at"),
            ["channels: doors: opened: at"],
        ),
    ],
)
def test_what_is_taken_away_of_streams_is_told(change: Change, told: list[str]) -> None:
    now = copy.deepcopy(STREAMS)
    change(now)
    assert broken(STREAMS, now) == told


def test_additions_break_nothing() -> None:
    now = copy.deepcopy(DOORS)
    now["paths"]["/gates"] = now["paths"]["/doors"]
    doors_of(now)["parameters"].append({"in": "query", "name": "site"})
    doors_of(now)["responses"]["503"] = {"description": "Not now."}
    door_of(now)["properties"]["colour"] = {"type": "string"}
    door_of(now)["required"].clear()
    assert broken(DOORS, now) == []
    assert broken(now, DOORS) != []


def test_the_documents_of_today_can_be_compared(made: Made) -> None:
    """With themselves nothing is broken; without one of their members or paths something is."""
    assert broken(made.openapi, made.openapi) == broken(made.asyncapi, made.asyncapi) == []
    less = copy.deepcopy(made.openapi)
    del less["paths"]["/api/connections"]
    del less["components"]["schemas"]["EventIn"]["properties"]["topic"]
    told = broken(made.openapi, less)
    assert "/api/connections" in told
    assert [each for each in told if each.startswith("POST /api/sites/{site_id}/events: body") and "topic" in each]
    fewer = copy.deepcopy(made.asyncapi)
    del fewer["channels"]["siteStream"]["messages"]["stream_gap"]
    assert broken(made.asyncapi, fewer) == ["channels: siteStream: stream_gap"]
