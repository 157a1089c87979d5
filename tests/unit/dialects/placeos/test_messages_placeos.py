"""Commands that are read, and answers that are written (seed 001; vendor-apis.md 2.2; design D4 and D5)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from doorstream.dialects.placeos.errors import Code
from doorstream.dialects.placeos.messages import (
    MAX_ID,
    MAX_NAME,
    Address,
    BadMessage,
    Form,
    Kind,
    Log,
    Notify,
    Value,
    debugging,
    executed,
    failure,
    parse,
    success,
)

GOOD = {"id": 1, "cmd": "exec", "sys": "sys-1", "mod": "Door", "index": 2, "name": "unlock", "args": [1]}
ADDRESS = Address("sys-1", "Döör", 2, 'a"b')


@pytest.mark.parametrize("kind", list(Kind))
def test_every_command_is_read(kind: Kind) -> None:
    request = parse(json.dumps(GOOD | {"cmd": kind.value}))
    assert request == (b"1", kind, Address("sys-1", "Door", 2, "unlock"), [1])


@pytest.mark.parametrize("request_id", ["1", "-7", "1.50", "1e3", '"a"', '"é\\u00e9"', "0", '""'])
def test_an_id_is_kept_as_it_was_written(request_id: str) -> None:
    """Seed 001: any number or string; whatever its spelling, clients compare it with theirs."""
    text = json.dumps(GOOD | {"id": "@"}).replace('"@"', request_id)
    assert parse(text).id.decode() == request_id


@pytest.mark.parametrize(
    ("more", "expected"),
    [({"index": None}, 1), ({"index": 3}, 3), ({"index": 0}, 0), ({"index": -1}, -1)],
)
def test_pos_06_an_index_of_null_is_1(more: dict[str, Any], expected: int) -> None:
    assert parse(json.dumps(GOOD | more)).address.ordinal == expected


def test_pos_06_a_missing_index_is_1_and_missing_arguments_are_none() -> None:
    small = {name: value for name, value in GOOD.items() if name not in ("index", "args", "id")}
    request = parse(json.dumps(small | {"unknown": {"to": "everybody"}}).encode())
    assert (request.id, request.address.ordinal, request.args) == (b"0", 1, [])
    assert parse(json.dumps(GOOD | {"args": None})).args == []


NOT_JSON = ["", "{", "pong", "[1", '{"id":1,}', "{'id':1}", b"\xff\xfe", '{"id":1} x', "[" * 5000]
NO_OBJECT = ["[]", "1", "null", '"bind"', "true"]


@pytest.mark.parametrize("text", NOT_JSON)
def test_what_is_no_json_is_code_0(text: str | bytes) -> None:
    with pytest.raises(BadMessage) as caught:
        parse(text)
    assert (caught.value.code, caught.value.id) == (Code.PARSE_ERROR, b"0")


@pytest.mark.parametrize("text", NO_OBJECT)
def test_json_that_is_no_object_is_code_1(text: str) -> None:
    with pytest.raises(BadMessage) as caught:
        parse(text)
    assert (caught.value.code, caught.value.id) == (Code.BAD_REQUEST, b"0")


@pytest.mark.parametrize("name", ["sys", "mod", "name"])
def test_a_name_that_is_too_long_is_code_1_with_the_id(name: str) -> None:
    """A thousand bindings with names of 90 kB were kept in 170 MB."""
    assert parse(json.dumps(GOOD | {name: "ä" * MAX_NAME})).id == b"1"
    with pytest.raises(BadMessage, match="at most 256 characters") as caught:
        parse(json.dumps(GOOD | {name: "x" * (MAX_NAME + 1)}))
    assert (caught.value.code, caught.value.id) == (Code.BAD_REQUEST, b"1")


@pytest.mark.parametrize("missing", ["cmd", "sys", "mod", "name"])
@pytest.mark.parametrize("instead", [None, 1, ["x"], "absent"])
def test_a_missing_field_is_code_1_with_the_id(missing: str, instead: Any) -> None:
    message = GOOD | {missing: instead, "id": "x"}
    if instead == "absent":
        del message[missing]
    with pytest.raises(BadMessage) as caught:
        parse(json.dumps(message))
    assert (caught.value.code, caught.value.id) == (Code.BAD_REQUEST, b'"x"')
    assert missing in str(caught.value)


@pytest.mark.parametrize(
    "message", [{"id": 5, "cmd": "dance"}, GOOD | {"id": 5, "cmd": "BIND"}, GOOD | {"id": 5, "cmd": ""}]
)
def test_an_unknown_command_is_code_4_whatever_else_is_missing(message: dict[str, Any]) -> None:
    with pytest.raises(BadMessage) as caught:
        parse(json.dumps(message))
    assert (caught.value.code, caught.value.id) == (Code.UNKNOWN_COMMAND, b"5")


@pytest.mark.parametrize(
    "more", [{"index": "1"}, {"index": 1.5}, {"index": 2**31}, {"index": True}, {"args": {}}, {"args": "x"}]
)
def test_a_field_of_another_type_is_code_1(more: dict[str, Any]) -> None:
    with pytest.raises(BadMessage) as caught:
        parse(json.dumps(GOOD | more))
    assert (caught.value.code, caught.value.id) == (Code.BAD_REQUEST, b"1")


@pytest.mark.parametrize("request_id", [{}, [1], True, "x" * MAX_ID])
def test_an_id_that_is_neither_number_nor_string_is_code_1(request_id: Any) -> None:
    with pytest.raises(BadMessage) as caught:
        parse(json.dumps(GOOD | {"id": request_id}))
    assert (caught.value.code, caught.value.id) == (Code.BAD_REQUEST, b"0")


def test_answers_are_json_with_the_seeds_members() -> None:
    meta = {"sys": "sys-1", "mod": "Döör", "index": 2, "name": 'a"b'}
    shown = [
        (success(b"1", ADDRESS.json), {"id": 1, "type": "success", "meta": meta}),
        (success(b'"x"'), {"id": "x", "type": "success"}),
        (executed(b"3", ADDRESS.json, b"null"), {"id": 3, "type": "success", "meta": meta, "value": None, "code": 200}),
        (
            debugging(b"4", "mod-1", ADDRESS.module_json),
            {"id": 4, "type": "success", "mod_id": "mod-1", "meta": {"sys": "sys-1", "mod": "Döör", "index": 2}},
        ),
        (
            failure(b"5", Code.REQUEST_FAILED, 'the "door"', ADDRESS.json),
            {"id": 5, "type": "error", "code": 3, "error_code": 3, "msg": 'the "door"', "meta": meta},
        ),
        (failure(b"0", Code.PARSE_ERROR, "x"), {"id": 0, "type": "error", "code": 0, "error_code": 0, "msg": "x"}),
        (
            Log(b"4", "mod-1", ADDRESS).encode("debug", "input\n", "Display"),
            {
                "id": 4,
                "type": "debug",
                "mod": "mod-1",
                "klass": "Display",
                "level": "debug",
                "msg": "input\n",
                "meta": meta,
            },
        ),
    ]
    for message, expected in shown:
        assert json.loads(message) == expected


@pytest.mark.parametrize("value", [None, True, 1.5, 'a "text" é', [], {"a": [1, {"b": "\n"}]}])
def test_pos_05_a_value_is_raw_json_or_a_string_that_holds_it(value: Any) -> None:
    encoded = Value(json.dumps(value).encode())
    raw = json.loads(Notify(b"1", ADDRESS, Form.JSON).encode(encoded))
    text = json.loads(Notify(b"1", ADDRESS, Form.STRING).encode(encoded))
    assert raw["value"] == value
    assert json.loads(text["value"]) == value
    assert raw | {"value": 0} == text | {"value": 0}
