"""The OpenAPI document is valid, whole, and describes every route."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from contract_support import Made
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from schemas import found, references_in, schemas_in

from doorstream.server.api.problems import CODES, MEDIA_TYPE, TYPE
from doorstream.server.documents import openapi as documents
from doorstream.server.documents import own
from doorstream.testing.server import Demo

METHODS = {"GET", "POST", "PUT", "PATCH", "DELETE"}
STATUS = re.compile(r"default|[1-5][0-9][0-9]")
NO_PROBLEMS = {("GET", "/healthz"), ("GET", "/metrics")}


def operations(made: Made) -> list[tuple[str, str, dict[str, Any]]]:
    """All of them."""
    return list(documents.operations(made.openapi))


def answer_of(made: Made, answer: dict[str, Any]) -> dict[str, Any]:
    """An answer, wherever it stands."""
    return found(made.openapi, answer["$ref"]) if "$ref" in answer else answer


def test_the_document_is_openapi(made: Made) -> None:
    """As a whole, by the schema of OpenAPI 3.1."""
    assert [error.message for error in OpenAPIV31SpecValidator(made.openapi).iter_errors()] == []


def test_every_route_is_documented(made: Made) -> None:
    """In the document, or as another spelling of what is there. A new route needs a table of `server.documents`."""
    documented = {(method, path) for method, path, _ in operations(made)}
    paths = made.openapi["paths"]
    missing = []
    for method, path in made.routes:
        plain = re.sub(r"{(\w+):\w+}", r"{\1}", path)
        if plain.endswith("/negotiate") and method == "GET":
            continue  # a plain ASGI application, which answers 405
        meant = plain if plain in paths else documents.alias_of(plain, paths)
        if (method, meant) not in documented:
            missing.append(f"{method} {path}")
    assert missing == []


def test_the_tables_describe_only_what_is_there(made: Made) -> None:
    """A route that is gone or was renamed must not live on in the document."""
    served = {(method, re.sub(r"{(\w+):\w+}", r"{\1}", path)) for method, path in made.routes}
    described = {key for group in documents.GROUPS for key in group.operations} | set(own.OPERATIONS)
    transports = {(method, "/socket.io/") for method in ("GET", "POST")}  # the gateway's own
    assert described - served - transports == set()


def test_every_operation_says_what_it_does(made: Made) -> None:
    """Summary, tag, id, answers, and who may ask."""
    tags = {tag["name"] for tag in made.openapi["tags"]}
    schemes = set(made.openapi["components"]["securitySchemes"])
    faults = []
    for method, path, operation in operations(made):
        where = f"{method} {path}"
        if not operation.get("summary"):
            faults.append(f"{where}: no summary")
        if not set(operation["tags"]) or not set(operation["tags"]) <= tags:
            faults.append(f"{where}: tags {operation['tags']}")
        if not any(status[0] in "1234" and status != "401" for status in operation["responses"]):
            faults.append(f"{where}: no answer")
        if not {name for each in operation["security"] for name in each} <= schemes:
            faults.append(f"{where}: security")
        if method not in METHODS:
            faults.append(f"{where}: method")
    assert faults == []
    ids = Counter(operation["operationId"] for _, _, operation in operations(made))
    assert [name for name, count in ids.items() if count > 1] == []


def test_every_parameter_is_described(made: Made) -> None:
    """And those of a path are exactly those that stand in it."""
    faults = []
    for method, path, operation in operations(made):
        where = f"{method} {path}"
        parameters = operation.get("parameters", [])
        names = Counter((each["in"], each["name"]) for each in parameters)
        faults += [f"{where}: {name} twice" for name, count in names.items() if count > 1]
        if {name for place, name in names if place == "path"} != set(re.findall(r"{([^}]*)}", path)):
            faults.append(f"{where}: parameters of the path")
        for each in parameters:
            if each["in"] not in ("path", "query", "header") or not each.get("description") or "schema" not in each:
                faults.append(f"{where}: {each['name']} is not described")
            if each["in"] == "path" and not each["required"]:
                faults.append(f"{where}: {each['name']} is not required")
    assert faults == []


def test_every_answer_and_every_body_has_a_schema(made: Made) -> None:
    faults = []
    for method, path, operation in operations(made):
        where = f"{method} {path}"
        for status, shared in operation["responses"].items():
            answer = answer_of(made, shared)
            if not STATUS.fullmatch(status) or not answer.get("description"):
                faults.append(f"{where}: {status}")
            for media, content in answer.get("content", {}).items():
                if "/" not in media or ("schema" not in content and media != "application/x-tar"):
                    faults.append(f"{where}: {status} {media}")
        for media, content in operation.get("requestBody", {}).get("content", {}).items():
            if "schema" not in content:
                faults.append(f"{where}: body {media}")
        if method == "GET" and "requestBody" in operation:
            faults.append(f"{where}: a body")
    assert faults == []


def test_every_success_of_ours_has_a_body_of_known_shape(made: Made) -> None:
    """Only what is done, or is a file, has none."""
    faults = []
    for method, path, operation in operations(made):
        for status, answer in operation["responses"].items():
            if status.startswith("2") and status != "204" and set(operation["tags"]) & set(documents._TAGS):
                content = answer.get("content", {})
                empty = [media for media, each in content.items() if each.get("schema") in ({}, None)]
                if not content or (empty and empty != ["application/x-tar"]):
                    faults.append(f"{method} {path}: {status}")
    assert faults == []


def test_our_own_routes_name_their_problems(made: Made) -> None:
    """Each with its stable type; those of the whole table are somewhere, but for what concerns all routes."""
    named = set()
    for method, path, operation in operations(made):
        if not set(operation["tags"]) & set(documents._TAGS):
            continue
        kinds = set()
        for status, answer in operation["responses"].items():
            content = answer_of(made, answer).get("content", {}).get(MEDIA_TYPE)
            if content is None:
                continue
            if "allOf" in content["schema"]:
                types = content["schema"]["allOf"][1]["properties"]["type"]["enum"]
                assert {CODES[each.removeprefix(TYPE)].status for each in types} == {int(status)}
                kinds |= set(types)
            else:
                kinds.add(None)
        assert kinds or (method, path) in NO_PROBLEMS, f"{method} {path}"
        named |= kinds
    anywhere = {"method-not-allowed", "internal", "too-many-requests"}
    assert {TYPE + slug for slug in CODES} - named <= {TYPE + slug for slug in anywhere}


def test_all_references_lead_somewhere_and_nothing_is_unused(made: Made) -> None:
    """What is in the components is used."""
    references = set(references_in(made.openapi))
    for reference in references:
        assert found(made.openapi, reference), reference
    parts = made.openapi["components"]
    there = {f"#/components/{kind}/{name}" for kind in ("schemas", "responses") for name in parts[kind]}
    assert there - references == set()


def test_all_schemas_are_schemas(made: Made) -> None:
    """By the metaschema of JSON Schema 2020-12, which is what OpenAPI 3.1 uses."""
    assert made.openapi["openapi"].startswith("3.1.")
    number = 0
    for schema in schemas_in(made.openapi):
        Draft202012Validator.check_schema(schema)
        number += 1
    assert number > 200


@pytest.mark.asyncio(loop_scope="session")
async def test_the_pages_need_nobody_else(demo: Demo) -> None:
    """They load what this server has, and their policies let them load nothing else."""
    async with aiohttp.ClientSession() as session:
        for page in ("/docs", "/docs/streams"):
            async with session.get(demo.url + page) as response:
                text, policy = await response.text(), response.headers["Content-Security-Policy"]
            assert response.status == 200
            assert "default-src 'none'" in policy
            assert "http" not in policy
            loaded = re.findall(r'<(?:script|link|img|iframe)[^>]*(?:src|href)="([^"]*)"', text)
            assert not [each for each in loaded if not each.startswith(("/docs/", "data:"))]
            assert "https://" not in text.replace("https://doorstream", "")
            for address in loaded:
                if address.startswith("/"):
                    async with session.get(demo.url + address) as response:
                        assert response.status == 200, address
                        assert len(await response.read()) > 1000
        for document in ("/openapi.json", "/asyncapi.json"):
            async with session.get(demo.url + document) as response:
                assert response.status == 200
                assert (await response.json())["info"]["title"] == "doorstream"


def test_what_is_committed_is_what_is_shown() -> None:
    """The folder of the snapshots has them."""
    folder = Path(__file__).parents[2] / "docs" / "api"
    assert sorted(path.name for path in folder.iterdir()) == ["asyncapi.json", "openapi.json", "released"]
