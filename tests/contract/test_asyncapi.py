"""The AsyncAPI document is valid and whole, and what a running demo streams is what it says."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import aiohttp
import msgspec
import pytest
from contract_support import Made
from jsonschema import Draft7Validator
from schemas import Judge, found, references_in, schemas_in
from websockets.asyncio.client import ClientConnection, connect

from doorstream.dialects.placeos.messages import Kind
from doorstream.dialects.salto.messages import KINDS
from doorstream.dialects.salto.routes import PATHS
from doorstream.directory.webhook_rules import FORMS
from doorstream.events import CATALOGUE, STREAMED, Event
from doorstream.events.event import encode_kept
from doorstream.server.documents import own_streams, pdk_stream, placeos_stream, salto_stream
from doorstream.server.webhooks import forms
from doorstream.testing.events import SITE
from doorstream.testing.server import Demo

HERE = Path(__file__).parent
SAMPLES = json.loads((HERE.parent / "data" / "pdk-stream-events.json").read_text())
OCCURRED = 1_780_000_000_000
END = "\x1e"
NODE = {"id": "node-1", "serialNumber": "1234ABC", "name": "Node"}
ACTOR = {"userId": "user-1", "userName": "Somebody", "cause": "command"}

in_session = pytest.mark.asyncio(loop_scope="session")


def test_the_document_is_valid(made: Made) -> None:
    """By the schema of AsyncAPI 3.1.0."""
    schema = json.loads((HERE / "asyncapi-3.1.0.schema.json").read_text())
    faults = [
        f"{error.json_path}: {error.message[:200]}" for error in Draft7Validator(schema).iter_errors(made.asyncapi)
    ]
    assert faults == []
    for each in schemas_in(made.asyncapi):
        Draft7Validator.check_schema(each)


def test_all_references_lead_somewhere_and_nothing_is_unused(made: Made) -> None:
    references = set(references_in(made.asyncapi))
    for reference in references:
        assert found(made.asyncapi, reference), reference
    components = made.asyncapi["components"]
    there = {f"#/components/{kind}/{name}" for kind in ("schemas", "messages") for name in components[kind]}
    assert there - references == set()


def test_operations_use_messages_of_their_channels(made: Made) -> None:
    """And every message is somebody's."""
    used = set()
    for operation in made.asyncapi["operations"].values():
        key = operation["channel"]["$ref"].rpartition("/")[2]
        for each in (*operation["messages"], *operation.get("reply", {}).get("messages", ())):
            assert each["$ref"].startswith(f"#/channels/{key}/messages/")
            used.add(each["$ref"])
    channels = made.asyncapi["channels"].items()
    assert used == {f"#/channels/{key}/messages/{name}" for key, channel in channels for name in channel["messages"]}


def test_every_socket_is_a_channel(made: Made) -> None:
    """A new one needs a channel of `server.documents`."""
    addresses = {channel["address"] for channel in made.asyncapi["channels"].values()}
    sockets = {path if path != "/socket.io" else "/socket.io/" for path in made.sockets}
    assert {path for path in sockets if not path.endswith("/negotiate")} <= addresses


def test_every_event_command_and_form_is_a_message(made: Made) -> None:
    messages = set(made.asyncapi["components"]["messages"])
    assert {pdk_stream.key_of(name) for name in (*STREAMED, "liveEvent", "subscribeIsolated")} <= messages
    assert {pdk_stream.key_of(name) for name in ("renewedToken", "invalidToken")} <= messages
    assert {salto_stream.key_of(hub) for hub in PATHS} <= messages
    assert {placeos_stream.key_of(kind.value) for kind in Kind} <= messages
    assert {own_streams.key_of(form) for form in FORMS} <= messages


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample["event"])
def test_the_vendors_samples_are_as_documented(made: Made, sample: dict[str, Any]) -> None:
    """Those of seed 000: a program that knows the document knows the vendor's API."""
    assert faults(made, pdk_stream.key_of(sample["event"]), sample["sample"]) == []


@in_session
async def test_what_pdk_streams_is_as_documented(made: Made, demo: Demo) -> None:
    """Every event of the stream at least once, and whatever the demo's story tells meanwhile."""
    query = {"EIO": "4", "transport": "websocket", "token": await demo.system_token(), "recovery": "0"}
    seen: Counter[str] = Counter()
    async with connect(_address(demo, "/socket.io/", query), max_queue=None) as socket:
        await socket.send("40")
        topics = [*sorted(STREAMED), "liveEvent"]
        await socket.send(f"420{json.dumps(['subscribeIsolated', {'topics': [*topics, 'none']}])}")
        await socket.send(f"421{json.dumps(['renewedToken', {'token': 'none'}])}")
        await socket.send(f"422{json.dumps(['renewedToken', {'token': await demo.system_token()}])}")
        async for name, value in _packets(socket):
            assert faults(made, pdk_stream.key_of(name), value) == [], (name, value)
            seen[name] += 1
            if name == "subscribeIsolated_ack":
                await demo.api.ingest(demo.site_id, *map(_event, sorted(STREAMED)))
            if set(topics) <= set(seen) and seen["renewedToken_ack"] >= 2:
                return


async def _packets(socket: ClientConnection) -> AsyncIterator[tuple[str, Any]]:
    """Events and acknowledgements with their first arguments, for half a minute."""
    acknowledged = ("subscribeIsolated_ack", "renewedToken_ack", "renewedToken_ack")
    async with asyncio.timeout(30):
        async for text in socket:
            if text == "2":
                await socket.send("3")
            elif text.startswith("42"):
                name, value = json.loads(text[2:])
                yield name, value
            elif text.startswith("43"):
                yield acknowledged[int(text[2])], json.loads(text[3:])[0]


@in_session
@pytest.mark.parametrize("hub", list(PATHS))
async def test_what_salto_streams_is_as_documented(made: Made, demo: Demo, hub: str) -> None:
    """Every category of a hub: the argument is a text that holds the object."""
    salto, admin = demo.credentials["salto"], demo.credentials["salto"]["users"]["site_admin"]
    form = {"grant_type": "password", "scope": "user_api.full_access"}
    form |= {"username": admin["username"], "password": admin["password"]}
    form |= {"client_id": salto["client_id"], "client_secret": salto["client_secret"]}
    async with aiohttp.ClientSession() as session, session.post(salto["token_url"], data=form) as response:
        token = (await response.json())["access_token"]
    message = made.asyncapi["components"]["messages"][salto_stream.key_of(hub)]
    topics = sorted(topic for topic, kind in KINDS.items() if kind.hub == hub)
    wanted = {KINDS[topic].category for topic in topics}
    query = {"site_id": salto["site_id"], "access_token": token}
    async with asyncio.timeout(30), connect(_address(demo, PATHS[hub], query)) as socket:
        await socket.send(f'{{"protocol":"json","version":1}}{END}')
        assert await socket.recv() == f"{{}}{END}"
        await demo.api.ingest(demo.site_id, *map(_event, topics))
        while wanted:
            for text in (await socket.recv()).split(END)[:-1]:
                told = json.loads(text)
                if told["type"] != 1:
                    continue
                assert told["target"] == message["x-signalr-target"]
                (argument,) = told["arguments"]
                assert faults(made, salto_stream.key_of(hub), argument) == []
                content = json.loads(argument)
                assert Judge(made.asyncapi).faults(message["payload"]["x-content-schema"], content) == []
                wanted.discard(content["event_category"])


@in_session
async def test_what_placeos_says_is_as_documented(made: Made, demo: Demo) -> None:
    """Commands as documented, and their answers."""
    place = {"sys": demo.credentials["placeos"]["system_id"], "mod": "Door", "index": 1}
    seen = set()
    headers = {"X-API-Key": demo.credentials["placeos"]["api_key"]}
    path = placeos_stream.PATH
    async with asyncio.timeout(30), connect(_address(demo, path, {}), additional_headers=headers) as socket:
        await socket.send("ping")
        assert faults(made, "placeos_pong", await socket.recv()) == []
        for number, command in enumerate(
            (
                {"cmd": "bind", "name": "locked"},
                {"cmd": "debug", "name": "debug"},
                {"cmd": "exec", "name": "unlock", "args": []},
                {"cmd": "exec", "name": "no such function", "args": []},
                {"cmd": "unbind", "name": "locked"},
                {"cmd": "ignore", "name": "debug"},
            )
        ):
            asked = command | place | {"id": number}
            assert faults(made, f"placeos_{asked['cmd']}", asked) == []
            await socket.send(json.dumps(asked))
            if command["cmd"] == "exec":
                await asyncio.sleep(0.1)  # commands of other kinds overtake it
        while not {"success", "executed", "debugging", "error", "notify"} <= seen:
            told = json.loads(await socket.recv())
            kind = _kind_of(told)
            seen.add(kind)
            assert faults(made, placeos_stream.key_of(kind), told) == [], told


def _kind_of(told: dict[str, Any]) -> str:
    """Which message of the document it is."""
    if told["type"] == "success":
        return "debugging" if "mod_id" in told else "executed" if "value" in told else "success"
    return {"debug": "log"}.get(told["type"], told["type"])


@in_session
async def test_what_a_stream_of_ours_says_is_as_documented(made: Made, demo: Demo) -> None:
    """Server-sent events of every topic with a body of its own."""
    wanted = set(STREAMED)
    await demo.api.ingest(demo.site_id, *map(_event, sorted(wanted)))
    first = await demo.api.call("GET", f"/api/sites/{demo.site_id}/events?limit=1000")
    query = {"after": first["events"][-1]["position"]}
    headers = {"X-API-Key": demo.credentials["admin"]["api_key"]}
    async with asyncio.timeout(30), aiohttp.ClientSession(headers=headers) as session:
        address = f"{demo.url}/api/sites/{demo.site_id}/stream?{urlencode(query)}"
        async with session.get(address) as response:
            while wanted:
                line = (await response.content.readline()).decode()
                if line.startswith("data: "):
                    event = json.loads(line.removeprefix("data: "))
                    assert faults(made, "stream_event", event) == []
                    wanted.discard(event["topic"])


@pytest.mark.parametrize("form", FORMS)
def test_what_webhooks_post_is_as_documented(made: Made, form: str) -> None:
    """Body and headers of every form, for every topic of which it tells."""
    number = 0
    written = forms("epoch", "https://doorstream.example")
    for name in (name for name in written if name == form or name.startswith(f"{form}.")):
        for sequence, topic in enumerate(sorted(STREAMED), 1):
            payload = written[name](_kept(sequence, topic), None)
            if payload is None:
                continue
            message = made.asyncapi["components"]["messages"][own_streams.key_of(form)]
            assert payload.content_type == message["contentType"]
            assert faults(made, own_streams.key_of(form), json.loads(payload.body)) == []
            assert set(payload.headers) <= set(message["headers"]["properties"])
            number += 1
    assert number


def faults(made: Made, key: str, value: Any) -> list[str]:
    """What is wrong with a message."""
    return Judge(made.asyncapi).faults(made.asyncapi["components"]["messages"][key]["payload"], value)


def _event(topic: str) -> dict[str, Any]:
    """An event of that topic, to be put in."""
    body: dict[str, Any] = {}
    if topic.startswith("device."):
        body = {"deviceId": "door-1", "device": {"id": "door-1", "name": "Door"}}
    if topic.startswith("device.request."):
        body |= {"facilityCode": "1", "cardNumber": "2"}
    if topic in ("device.request.allowed", "device.request.denied"):
        body |= {"holderId": "holder-1", "holder": {"id": "holder-1", "name": "Some Body"}, "requestFactor": "PIN_ONLY"}
    if topic.startswith("cloudnode."):
        body = {"serialNumber": "1234ABC"}
    if topic.startswith("sync."):
        body = {"panelSn": "1234ABC"}
    return {"topic": topic, "occurred": OCCURRED, "body": body, "cloudNode": NODE, "metadata": ACTOR}


def _kept(sequence: int, topic: str) -> Event:
    """The same as it is kept: with all keys of its body."""
    event, form = _event(topic), CATALOGUE[topic].body
    if form is not None:
        event["body"] = msgspec.to_builtins(msgspec.convert(event["body"], form))
    json_ = encode_kept(
        id=f"event-{sequence}",
        topic=topic,
        site_id=SITE,
        occurred=OCCURRED,
        body=event["body"],
        cloud_node=NODE,
        metadata=ACTOR,
    )
    return Event(json_, sequence, OCCURRED + 1)


def _address(demo: Demo, path: str, query: dict[str, str]) -> str:
    return f"ws://{urlsplit(demo.url).netloc}{path}?{urlencode(query)}"
