"""Putting events in over HTTP: what is taken, what is refused and how, and what becomes of bodies that misbehave."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from http_support import NDJSON, ask, connection, event, events_path, lines, put, read

from doorstream.testing.server import Demo, running_demo

MAY_GROW_BY = 40_000_000
SIZE = 100_000_000
FILLS_THE_RING = 40_000_000
PATIENCE = aiohttp.ClientTimeout(100)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def demo() -> AsyncIterator[Demo]:
    """One server for all tests of this file; whatever they did to it, it must not have been surprised."""
    async with running_demo() as demo:
        yield demo
        assert "Traceback" not in demo.errors, demo.errors
        assert "ERROR" not in demo.errors


async def site(demo: Demo) -> str:
    """A site of its own, with nothing in it."""
    return await demo.api.create_site(name="Of its own")


async def stored(demo: Demo, site_id: str) -> list[str]:
    """The ids of what is kept there, oldest first."""
    page = await read(demo, site_id, limit="10000")
    assert page.status == 200
    return [each["id"] for each in reversed(page.body["events"])]


async def test_one_event(demo: Demo) -> None:
    own = await site(demo)
    answer = await put(demo, event("one"), site=own)
    assert (answer.status, answer.body["accepted"], answer.body["duplicates"]) == (200, 1, 0)
    (kept,) = (await read(demo, own)).body["events"]
    assert kept["position"] == answer.body["positions"][0]
    assert (kept["id"], kept["siteId"], kept["topic"], kept["occurred"]) == ("one", own, "x.test", 1_780_000_000_000)


async def test_an_array_keeps_its_order(demo: Demo) -> None:
    own = await site(demo)
    ids = [f"event-{number}" for number in range(1000)]
    answer = await put(demo, [event(each) for each in ids], site=own)
    assert (answer.status, answer.body["accepted"]) == (200, 1000)
    assert await stored(demo, own) == ids
    assert len(set(answer.body["positions"])) == 1000


REFUSED: dict[str, tuple[bytes | Any, str]] = {
    "nothing": (b"", ""),
    "no JSON": (b"{", ""),
    "null": (b"null", "object"),
    "a number": (b"3", "object"),
    "a text": (b'"event"', "object"),
    "no UTF-8": (b'{"topic": "\xff"}', ""),
    "a byte order mark": (b"\xef\xbb\xbf{}", ""),
    "UTF-16": (json.dumps(event()).encode("utf-16"), ""),
    "two events": (b'{"topic":"x.a","occurred":1,"body":{}} {"topic":"x.a","occurred":1,"body":{}}', ""),
    "endless nesting": (b'{"body":' * 100_000, ""),
    "no topic": ({"occurred": 1, "body": {}}, "topic"),
    "no time": ({"topic": "x.test", "body": {}}, "occurred"),
    "no body": ({"topic": "x.test", "occurred": 1}, "body"),
    "a topic that is no text": (event(topic=3), "topic"),
    "an unknown topic": (event(topic="device.exploded"), "topic"),
    "a derived topic": (event(topic="liveEvent"), "liveEvent"),
    "a topic with a line end": (event(topic="x.test\n"), "topic"),
    "a topic for everything": (event(topic="x.>"), "topic"),
    "a body that is a list": (event(body=[]), "body"),
    "a body of the wrong shape": (event(topic="device.input.dps.opened", body={"device": 3}), "body.device"),
    "a time that is none": (event(occurred="yesterday"), "occurred"),
    "a time without a zone": (event(occurred="2026-01-31T10:00:00"), "zone"),
    "a time that is true": (event(occurred=True), "occurred"),
    "a time at the end of all days": (event(occurred=10**30), "occurred"),
    "an id that is a number": (event(id=3), "id"),
    "an empty id": (event(id=""), "id"),
    "an id with a space": (event(id="a b"), "id"),
    "an id with a header in it": (event(id="a\r\nNats-Rollup: all"), "id"),
    "an id that is too long": (event(id="x" * 129), "id"),
    "a number that nobody can read": (b'{"topic":"x.a","occurred":1,"body":{"a":%b}}' % (b"9" * 5000), "body"),
    "half a character": (b'{"topic":"x.a","occurred":1,"body":{"a":"\\ud800"}}', ""),
    "too many bytes": (event(body={"note": "x" * 100_000}), "100000"),
}


@pytest.mark.parametrize("what", REFUSED)
async def test_what_is_no_event(demo: Demo, what: str) -> None:
    """422, with what is wrong; alone, and as a member of an array where it is one."""
    body, word = REFUSED[what]
    answer = await put(demo, body)
    assert (answer.status, answer.problem) == (422, "invalid-event")
    assert word in answer.body["detail"]
    if not isinstance(body, bytes):
        answer = await put(demo, [event(), body])
        assert (answer.status, answer.problem) == (422, "invalid-events")
        assert [fault["index"] for fault in answer.body["errors"]] == [1]
        assert word in answer.body["errors"][0]["reason"]


async def test_an_array_with_invalid_members(demo: Demo) -> None:
    """None is kept; each is named by its index and what is wrong with it."""
    own = await site(demo)
    members = [event("a"), event("b", topic="nonsense"), 3, event("c"), [], event("d", occurred="x"), None]
    answer = await put(demo, members, site=own)
    assert (answer.status, answer.problem) == (422, "invalid-events")
    assert [fault["index"] for fault in answer.body["errors"]] == [1, 2, 4, 5, 6]
    assert all(fault["reason"] for fault in answer.body["errors"])
    assert await stored(demo, own) == []


@pytest.mark.parametrize("body", [b"[", b"[{},", b"[1 2]", b"[]]", b"[" * 100_000, b"[{}] []"])
async def test_what_is_no_array(demo: Demo, body: bytes) -> None:
    answer = await put(demo, body)
    assert answer.status == 422
    assert answer.problem in ("invalid-event", "invalid-events")


async def test_an_empty_array(demo: Demo) -> None:
    answer = await put(demo, [])
    assert (answer.status, answer.body) == (200, {"accepted": 0, "duplicates": 0, "positions": []})


async def test_what_is_too_much_for_an_array(demo: Demo) -> None:
    """413, which says how to send more; nothing is kept."""
    own = await site(demo)

    async def chunked() -> AsyncIterator[bytes]:
        for _ in range(90):
            yield b" " * 100_000

    for body in ([event(f"e{number}") for number in range(1001)], b"[" + b" " * 8_000_000 + b"]", chunked()):
        answer = await put(demo, body, site=own)
        assert (answer.status, answer.problem) == (413, "too-large")
        assert NDJSON in answer.body["detail"]
    assert await stored(demo, own) == []


async def test_who_may_not(demo: Demo) -> None:
    """401 without credentials that are known, 403 without the right, 404 for a site that is not there."""
    own = await site(demo)
    reader = await demo.api.create_client(scopes=["events:read"])
    elsewhere = await demo.api.create_client(scopes=["events:write"], sites=[own])
    for key in (None, "", "nonsense", "ds_admin_wrong", "ds_" + "x" * 5000, reader["api_key"][:-1]):
        answer = await put(demo, event(), key=key or None)
        assert (answer.status, answer.problem) == (401, "unauthenticated")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    for key in (reader["api_key"], elsewhere["api_key"]):
        answer = await put(demo, event(), key=key)
        assert (answer.status, answer.problem) == (403, "forbidden")
    assert (await put(demo, event(), key=elsewhere["api_key"], site=own)).status == 200
    assert (
        await put(demo, event(), headers={"Authorization": f"Bearer {elsewhere['api_key']}"}, key=None)
    ).status == 403
    for unknown in ("nowhere", "x.>", "..", "a b", "00000000-0000-0000-0000-000000000000", "%00", "é" * 100):
        answer = await put(demo, event(), site=unknown)
        assert (answer.status, answer.problem) == (404, "not-found")


async def test_lines(demo: Demo) -> None:
    """Each for itself: line ends of every kind, empty lines, broken lines, and none at the end."""
    own = await site(demo)
    body = (
        lines(
            event("a"),
            json.dumps(event("b")).encode() + b"\r",
            b"",
            b"  \r",
            b"{",
            b"\xff\xfe",
            event("c", topic="nonsense"),
            b"x" * 300_000,
            event("a", topic="x.other"),
            b"[]",
        )
        + json.dumps(event("d")).encode()
    )
    answer = await put(demo, body, f"{NDJSON}; charset=utf-8", site=own)
    assert answer.status == 200
    report = answer.body
    assert (report["accepted"], report["duplicates"], report["rejected_count"]) == (3, 1, 5)
    assert [each["line"] for each in report["rejected"]] == [5, 6, 7, 8, 10]
    assert "100000 bytes" in report["rejected"][3]["reason"]
    kept = (await read(demo, own)).body["events"]
    assert [each["id"] for each in kept] == ["d", "b", "a"]
    assert (report["first"], report["last"]) == (kept[-1]["position"], kept[0]["position"])
    assert kept[-1]["topic"] == "x.test", "the first content under an id stays"


async def test_only_the_first_thousand_rejected_lines_are_named(demo: Demo) -> None:
    answer = await put(demo, b"nonsense\n" * 1500, NDJSON)
    assert answer.status == 200
    assert (answer.body["rejected_count"], len(answer.body["rejected"])) == (1500, 1000)
    assert (answer.body["accepted"], answer.body["first"], answer.body["last"]) == (0, None, None)


async def test_no_lines_at_all(demo: Demo) -> None:
    assert (await put(demo, b"", NDJSON)).body["accepted"] == 0


async def test_lines_that_are_cut_off(demo: Demo) -> None:
    """The client left in the middle: what was complete is kept, what was not is not, and nobody is alarmed."""
    own = await site(demo)
    async with connection(demo) as client:
        client.request("POST", events_path(demo, own), Content_Type=NDJSON, Transfer_Encoding="chunked")
        client.chunk(lines(event("whole-1"), event("whole-2"))[:-20])
        await asyncio.sleep(0.1)
        client.chunk(lines(event("whole-1"), event("whole-2"))[-20:] + json.dumps(event("half")).encode()[:-1])
        await until_stored(demo, own, ["whole-1", "whole-2"])  # what it has not read yet it may lose with the client
        await client.leave()
    await until_stored(demo, own, ["whole-1", "whole-2"])
    async with connection(demo) as client:
        client.request("POST", events_path(demo, own), Content_Type=NDJSON, Content_Length=1_000_000)
        client.send(lines(event("whole-3")) + b'{"topic')
        await until_stored(demo, own, ["whole-1", "whole-2", "whole-3"])
        await client.leave()
    await until_stored(demo, own, ["whole-1", "whole-2", "whole-3"])


async def until_stored(demo: Demo, site_id: str, wanted: list[str]) -> None:
    """Wait until it is so."""
    for _ in range(600):
        if (found := await stored(demo, site_id)) == wanted:
            return
        await asyncio.sleep(0.05)
    pytest.fail(f"{found} are stored")


async def test_other_bodies_that_are_cut_off(demo: Demo) -> None:
    """Half an array is nothing, and nobody is alarmed."""
    own = await site(demo)
    for body in (b"[" + json.dumps(event("a")).encode(), json.dumps(event("a")).encode()):
        async with connection(demo) as client:
            client.request("POST", events_path(demo, own), Content_Type="application/json", Content_Length=5000)
            client.send(body)
            await client.leave()
    for path in ("/api/sites", "/api/clients", "/oauth2/token", f"/api/sites/{own}/tokens"):
        async with connection(demo) as client:
            client.request("POST", path, Content_Type="application/json", Content_Length=5000)
            client.send(b'{"name": ')
            await client.leave()
    async with connection(demo) as client:
        client.request("POST", events_path(demo, own), Content_Type="application/json", Transfer_Encoding="chunked")
        client.send(b"this is no chunk\r\n")
        assert (await client.answer())[0] == 400
    assert await stored(demo, own) == []


async def test_a_slow_body(demo: Demo) -> None:
    """Byte by byte, and others are served meanwhile."""
    own = await site(demo)
    async with connection(demo) as client:
        body = json.dumps(event("slow")).encode()
        client.request("POST", events_path(demo, own), Content_Type="application/json", Content_Length=len(body))
        for at in range(len(body)):
            client.send(body[at : at + 1])
            await asyncio.sleep(0.002)
            if at == len(body) // 2:
                assert (await put(demo, event("meanwhile"), site=own)).status == 200
        status, answer = await client.answer()
    assert (status, json.loads(answer)["accepted"]) == (200, 1)
    assert await stored(demo, own) == ["meanwhile", "slow"]


async def test_content_types_and_encodings(demo: Demo) -> None:
    """What curl sends by itself is fine; a compressed body is refused before it is read as something else."""
    for content_type in ("application/json; charset=utf-8", "text/plain", "application/x-www-form-urlencoded", "x"):
        assert (await put(demo, event(), content_type)).status == 200
    assert (await put(demo, lines(event()), "Application/X-NDJSON")).status == 200
    for content_type in ("application/json", NDJSON):
        packed = gzip.compress(lines(event()))
        answer = await put(demo, packed, content_type, headers={"Content-Encoding": "gzip"})
        assert answer.status == 415
        assert "Content-Encoding" in answer.body["detail"]
        assert answer.problem
    assert (await put(demo, event(), headers={"Content-Encoding": "identity"})).status == 200
    assert (await put(demo, gzip.compress(lines(event())))).problem == "invalid-event"


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_methods_that_are_not_there(demo: Demo, method: str) -> None:
    answer = await ask(demo, method, events_path(demo))
    assert (answer.status, answer.problem) == (405, "method-not-allowed")
    assert answer.headers["Allow"]


async def test_a_preflight(demo: Demo) -> None:
    """A page of another origin may put events in with a key (design D11)."""
    asked = {"Origin": "https://page.example", "Access-Control-Request-Method": "POST"}
    answer = await ask(demo, "OPTIONS", events_path(demo), headers=asked, key=None)
    assert answer.status == 204
    assert answer.headers["Access-Control-Allow-Origin"] == "https://page.example"
    assert "X-API-Key" in answer.headers["Access-Control-Allow-Headers"]
    refused = await put(demo, event(), key=None, headers={"Origin": "https://page.example"})
    assert refused.headers["Access-Control-Allow-Origin"] == "https://page.example"
    assert "Origin" in refused.headers["Vary"]


async def test_the_same_id_again(demo: Demo) -> None:
    """It is a duplicate with its first position, however it comes again; at another site it is another event."""
    own, other = await site(demo), await site(demo)
    first = (await put(demo, event("same", body={"number": 1}), site=own)).body["positions"]
    again = event("same", body={"number": 2})
    for body in (again, [again], [again, again]):
        answer = (await put(demo, body, site=own)).body
        assert (answer["accepted"], set(answer["positions"])) == (0, set(first))
        assert answer["duplicates"] == len(answer["positions"])
    report = (await put(demo, lines(again, again), NDJSON, site=own)).body
    assert (report["accepted"], report["duplicates"], report["first"], report["last"]) == (0, 2, *first, *first)
    mixed = (await put(demo, [event("new"), again, event("new")], site=own)).body
    assert (mixed["accepted"], mixed["duplicates"], mixed["positions"][1]) == (1, 2, first[0])
    assert mixed["positions"][0] == mixed["positions"][2]
    assert (await put(demo, again, site=other)).body["accepted"] == 1
    kept = (await read(demo, own)).body["events"]
    assert [(each["id"], each["body"]) for each in kept] == [("new", {}), ("same", {"number": 1})]


async def test_the_same_id_at_the_same_time(demo: Demo) -> None:
    """Of many who put in the same, one is first, and all are told where it stands."""
    own = await site(demo)
    bodies = [event("same"), [event("same"), event("other")], lines(event("same"), event("other"))] * 7
    answers = await asyncio.gather(
        *(put(demo, each, NDJSON if isinstance(each, bytes) else "application/json", site=own) for each in bodies)
    )
    assert {answer.status for answer in answers} == {200}
    assert sum(answer.body["accepted"] for answer in answers) == 2
    assert sorted(await stored(demo, own)) == ["other", "same"]


async def test_the_same_ids_over_a_restart() -> None:
    """What was kept before is still known, also by a worker and a nats-server that were killed."""
    events = [event(f"event-{number}") for number in range(100)]
    async with running_demo(fixed_port=True) as demo:
        first = (await put(demo, events)).body["positions"]
        await asyncio.to_thread(demo.stop)
        await asyncio.to_thread(demo.start)
        answer = (await put(demo, events)).body
        assert (answer["accepted"], answer["duplicates"], answer["positions"]) == (0, 100, first)
        await asyncio.to_thread(demo.kill)
        await asyncio.to_thread(demo.start)
        assert (await put(demo, lines(*events, event("new")), NDJSON)).body["accepted"] == 1
        assert (await put(demo, events[7])).body["positions"] == [first[7]]
        assert "Traceback" not in demo.errors


async def test_a_hundred_megabytes_of_lines(demo: Demo) -> None:
    """They pass through: the worker keeps nothing of them but the ring of recent events, which is filled before."""
    own = await site(demo)
    portion = lines(*(event(body={"note": "x" * 3900}) for _ in range(250)))

    async def body(size: int) -> AsyncIterator[bytes]:
        for _ in range(size // len(portion) + 1):
            yield portion

    await put(demo, body(FILLS_THE_RING), NDJSON, site=own, timeout=PATIENCE)
    worker = Path(f"/proc/{demo.worker_pid()}")
    (worker / "clear_refs").write_text("5")  # begin to measure the peak anew (proc(5))
    before = _memory(worker, "VmRSS")
    answer = await put(demo, body(SIZE), NDJSON, site=own, timeout=PATIENCE)
    assert answer.status == 200
    assert answer.body["accepted"] == 250 * (SIZE // len(portion) + 1)
    grown = _memory(worker, "VmHWM") - before
    assert grown < MAY_GROW_BY, f"the worker grew by {grown / 1e6:.0f} MB"


def _memory(process: Path, name: str) -> int:
    line = next(line for line in (process / "status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024
