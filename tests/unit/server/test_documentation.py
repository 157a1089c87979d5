"""The parts of the documents that need no server: notation, problems, pages."""

from __future__ import annotations

import base64
import hashlib
import re

import msgspec

from doorstream.server.api.documentation import problems
from doorstream.server.api.problems import MEDIA_TYPE, TYPE
from doorstream.server.documents.asyncapi import asyncapi_document
from doorstream.server.documents.notation import INTEGER, TEXT, maybe, record, structs
from doorstream.server.documents.openapi import alias_of, complete
from doorstream.server.documents.pages import STREAMS_POLICY, rest_page, rest_policy, streams_page


class Inner(msgspec.Struct):
    """Something inside."""

    name: str | None = None


class Outer(msgspec.Struct):
    """Something around it."""

    inner: Inner | None = None
    number: int = 3


def types_of(answer: dict[str, object]) -> list[str]:
    """The types of the problems that an answer is."""
    text = str(answer["content"])
    return sorted(set(re.findall(rf"{TYPE}([a-z-]+)", text)))


def test_problems_of_one_status_share_an_answer() -> None:
    """A later one of the same status used to hide the ones before it."""
    found = problems("already-exists", "conflict", "not-found")
    assert set(found) == {401, 403, 404, 409}
    assert types_of(found[409]) == ["already-exists", "conflict"]
    assert set(found[409]["content"]) == {MEDIA_TYPE}


def test_a_record_has_all_members_but_the_optional_ones() -> None:
    assert record({"a": TEXT}, {"b": INTEGER}, optional=("b",)) == {
        "type": "object",
        "properties": {"a": TEXT, "b": INTEGER},
        "required": ["a"],
    }
    assert "required" not in record()
    assert maybe(TEXT) == {"anyOf": [TEXT, {"type": "null"}]}


def test_a_struct_is_written_with_all_its_members() -> None:
    """As it is encoded; read, it may lack what has a default."""
    found = structs(Outer)
    assert set(found) == {"Outer", "Inner"}
    assert found["Outer"]["required"] == ["inner", "number"]
    assert "default" not in str(found)
    assert "required" not in structs(Outer, complete=False)["Outer"]
    assert "#/components/schemas/Inner" in str(found["Outer"])


def test_other_spellings_of_a_path() -> None:
    documented = ["/{system_id}", "/{system_id}/devices", "/eventLogs"]
    assert alias_of("/event-logs", documented) == "/eventLogs"
    assert alias_of("/api", documented) == "/{system_id}"
    assert alias_of("/api/devices", documented) == "/{system_id}/devices"
    assert alias_of("/api/sites", documented) is None
    assert alias_of("/apis", documented) is None


def test_the_frameworks_own_errors_and_titles_are_gone() -> None:
    """We answer errors in our own way; its titles only repeat names. A member that is called title stays."""
    schema = {"type": "object", "title": "Thing", "properties": {"title": {"type": "string", "title": "Title"}}}
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/HTTPValidationError"}}}
    document = complete(
        {
            "openapi": "3.1.0",
            "info": {"title": "it", "version": "1"},
            "paths": {
                "/thing": {
                    "get": {
                        "tags": ["events"],
                        "summary": "A thing",
                        "responses": {
                            "200": {"description": "Successful Response"},
                            "422": {"description": "Validation Error", "content": content},
                        },
                    }
                }
            },
            "components": {"schemas": {"Thing": schema, "HTTPValidationError": {}, "ValidationError": {}}},
        }
    )
    schemas = document["components"]["schemas"]
    assert schemas["Thing"] == {"type": "object", "properties": {"title": {"type": "string"}}}
    assert "HTTPValidationError" not in schemas
    operation = document["paths"]["/thing"]["get"]
    assert set(operation["responses"]) == {"200", "401", "403", "default"}
    assert operation["operationId"] == "getThing"
    assert document["info"]["title"] == "it"


def test_policies_name_exactly_what_stands_in_the_pages() -> None:
    """A page whose text changed and whose policy did not would be blank."""
    page = streams_page(asyncapi_document("1"))
    (style,) = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    assert hash_of(style) in STREAMS_POLICY
    assert "<script" not in page
    rest = rest_page("/openapi.json", "/static")
    (script,) = re.findall(r"<script>(.*?)</script>", rest, re.DOTALL)
    assert hash_of(script) in rest_policy(rest)


def hash_of(text: str) -> str:
    """As policies write it."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def test_nothing_in_the_document_is_taken_for_html() -> None:
    document = asyncapi_document("<b>1</b>")
    document["channels"]["webhooks"]["description"] = "<script>alert(1)</script> `a<b`"
    page = streams_page(document)
    assert "<script" not in page
    assert "<b>" not in page
    assert "<code>a&lt;b</code>" in page
