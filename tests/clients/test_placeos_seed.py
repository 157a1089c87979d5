"""A program on the plain ``ws`` package, written from seed 001 alone: each message as printed gets the answer printed.

Only identifiers differ: of the system and module, and what is booked.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from node_client import NodeClient, node_program
from patient import modules_run

from doorstream.testing.server import Demo, running_demo

pytestmark = pytest.mark.node

PATH = "/api/engine/v2/systems/control"
BOOKED = {"name": "bookings", "mod": "Bookings", "index": 1}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def demo() -> AsyncIterator[Demo]:
    """One server for all tests."""
    async with running_demo() as demo:
        await modules_run(demo)
        yield demo
        assert "Traceback" not in demo.errors


class Program:
    """A running program, and what it received: as JSON where it is."""

    def __init__(self, client: NodeClient) -> None:
        self._client = client

    @property
    def messages(self) -> list[Any]:
        texts = [item["text"] for item in self._client.all("message")]
        return [text if text == "pong" else json.loads(text) for text in texts]

    async def receives(self, number: int) -> None:
        """Wait until so many messages have come."""
        await self._client.until(lambda: len(self.messages) >= number)

    async def ask(self, message: Any, answers: int = 1) -> list[Any]:
        """Send, and wait for so many messages."""
        before = len(self.messages)
        self._client.do("send", text=message if isinstance(message, str) else json.dumps(message))
        await self.receives(before + answers)
        return self.messages[before:]


@contextlib.asynccontextmanager
async def program(demo: Demo, key: str | None = None) -> AsyncIterator[Program]:
    """A program that is connected, with the demo's key unless with another."""
    headers = {"X-API-Key": key or demo.credentials["placeos"]["api_key"]}
    address = demo.url.replace("http", "ws") + PATH
    async with node_program("placeos_ws.cjs", {"address": address, "headers": headers}) as client:
        await client.tells("open")
        yield Program(client)


async def test_every_message_of_the_seed(demo: Demo) -> None:
    """Heartbeat, bind, unbind, execute, debug, ignore, in the seed's order and with its ids."""
    sys = demo.credentials["placeos"]["system_id"]
    meta = {"sys": sys, "mod": "Bookings", "index": 1, "name": "bookings"}
    async with program(demo) as client, program(demo) as other:
        assert await client.ask("ping") == ["pong"]

        bind = {"id": 1, "cmd": "bind", "sys": sys, "mod": "Bookings", "index": 1, "name": "bookings"}
        success, notify = await client.ask(bind, 2)
        assert success == {"id": 1, "type": "success", "meta": meta}
        assert notify == {"id": 1, "type": "notify", "value": "[]", "meta": meta}
        (bound,) = (await other.ask(bind | {"id": 18}, 2))[1:]
        assert bound == {"id": 18, "type": "notify", "value": "[]", "meta": meta}

        unbind = {"id": 2, "cmd": "unbind", "sys": sys, "mod": "Bookings", "index": 1, "name": "bookings"}
        assert await client.ask(unbind) == [{"id": 2, "type": "success", "meta": meta}]

        execute = bind | {"id": 3, "cmd": "exec", "name": "make_booking", "args": [1631058815]}
        (executed,) = await client.ask(execute)
        assert executed.pop("code") == 200
        assert executed == {"id": 3, "type": "success", "meta": meta | {"name": "make_booking"}, "value": {}}
        await other.receives(3)
        changed = other.messages[2]
        assert (changed["id"], changed["type"], changed["meta"]) == (18, "notify", meta)
        assert isinstance(changed["value"], str)
        assert len(json.loads(changed["value"])) == 1

        debug = {"id": 4, "cmd": "debug", "sys": sys, "mod": "Bookings", "index": 1, "name": "debug"}
        (debugging,) = await client.ask(debug)
        module_id = debugging.pop("mod_id")
        assert module_id.startswith("mod-")
        assert debugging == {"id": 4, "type": "success", "meta": {"sys": sys, "mod": "Bookings", "index": 1}}
        line, _ = await client.ask(execute | {"args": [1631058816]}, 2)
        assert {name: line[name] for name in ("type", "mod", "level")} == {
            "type": "debug",
            "mod": module_id,
            "level": "debug",
        }
        assert line["klass"]
        assert "make_booking" in line["msg"]

        ignore = {"id": 5, "cmd": "ignore", "sys": sys, "mod": module_id, "index": None, "name": "ignore"}
        assert await client.ask(ignore) == [{"id": 5, "type": "success"}]
        before = len(client.messages)
        await client.ask(execute | {"args": [1631058817]})
        assert len(client.messages) == before + 1, "no line of the log any more"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (0, '{"id": 1, # Any number\n}'),
        (1, {"id": 7, "cmd": "bind"}),
        (2, {"id": 7, "cmd": "bind", "sys": "{other}", **BOOKED}),
        (3, {"id": 7, "cmd": "exec", "sys": "{sys}", **BOOKED, "name": "make_booking", "args": [1900000000]}),
        (4, {"id": 7, "cmd": "subscribe", "sys": "{sys}", **BOOKED}),
        (5, {"id": 7, "cmd": "bind", "sys": "sys-1234", **BOOKED}),
        (6, {"id": 7, "cmd": "exec", "sys": "{sys}", **BOOKED, "index": 2}),
    ],
)
async def test_pos_09_the_errors_of_the_seed(demo: Demo, code: int, message: Any) -> None:
    """Each of the table but 7, "this should never happen"; the request's id where it is readable (D5)."""
    sys = demo.credentials["placeos"]["system_id"]
    other = f"sys-{await demo.api.create_site()}"
    fields = {"scopes": ["placeos"], "sites": [demo.site_id]}
    key = (await demo.api.create_client(**fields))["api_key"]
    text = message if isinstance(message, str) else json.dumps(message)
    async with program(demo, key) as client:
        text = text.replace("{sys}", sys).replace("{other}", other)
        if code == 3:
            await client.ask(text)  # what is booked already is refused
        (answer,) = await client.ask(text)
    assert (answer["type"], answer["code"], answer["error_code"]) == ("error", code, code)
    assert answer["id"] == (0 if code == 0 else 7)
    assert answer["msg"]


async def test_pos_08_a_binding_made_before_its_module_exists(demo: Demo) -> None:
    """Its variable is told when the module appears, and followed from then on."""
    sys = demo.credentials["placeos"]["system_id"]
    modules = "/api/engine/v2/modules"
    room = {"driver_id": "driver-bookings", "control_system_id": sys, "custom_name": "Room"}
    bind = {"id": 1, "cmd": "bind", "sys": sys, "mod": "Room", "index": 1, "name": "bookings"}
    async with program(demo) as client:
        (success,) = await client.ask(bind)
        assert (success["type"], success["meta"]["mod"]) == ("success", "Room")
        module = await demo.api.call("POST", modules, json=room)
        await client.receives(2)
        assert client.messages[1:] == [{"id": 1, "type": "notify", "value": "[]", "meta": success["meta"]}]
        async with asyncio.timeout(60):
            while not (await demo.api.call("GET", f"{modules}/{module['id']}"))["connected"]:  # noqa: ASYNC110 - over HTTP
                await asyncio.sleep(0.01)
        book = bind | {"id": 2, "cmd": "exec", "name": "make_booking", "args": [1631058815]}
        answers = await client.ask(book, 2)
        assert sorted((each["id"], each["type"]) for each in answers) == [(1, "notify"), (2, "success")]
        await demo.api.call("DELETE", f"{modules}/{module['id']}")


async def test_pos_16_door_security_on_every_door(demo: Demo) -> None:
    """``door_list`` and ``unlock`` by ``exec``, on doors and on the access control of the site."""
    sys = demo.credentials["placeos"]["system_id"]
    types = await demo.api.call("GET", f"/api/engine/v2/systems/{sys}/types")
    assert {"AccessControl": 1, "Bookings": 1}.items() <= types.items()
    async with program(demo) as client:
        base = {"cmd": "exec", "sys": sys, "mod": "Door", "args": []}
        seen = set()
        for index in range(1, types["Door"] + 1):
            (answer,) = await client.ask(base | {"id": index, "index": index, "name": "door_list"})
            (door,) = answer["value"]
            assert set(door) == {"door_id", "description"}
            seen.add(door["door_id"])
        (answer,) = await client.ask(base | {"id": 100, "mod": "AccessControl", "name": "door_list"})
        assert {door["door_id"] for door in answer["value"]} == seen
        (answer,) = await client.ask(base | {"id": 101, "index": 1, "name": "unlock"})
        assert answer["value"] is True
        (itself,) = (await client.ask(base | {"id": 103, "index": 1, "name": "door_list"}))[0]["value"]
        (answer,) = await client.ask(base | {"id": 104, "index": 1, "name": "unlock", "args": [itself["door_id"]]})
        assert answer["value"] is True
        (answer,) = await client.ask(base | {"id": 102, "index": 1, "name": "unlock", "args": ["another door"]})
        assert answer["value"] is False


async def test_a_door_that_is_unlocked_here_is_an_event_everywhere(demo: Demo) -> None:
    """And says who did it."""
    sys = demo.credentials["placeos"]["system_id"]
    async with program(demo) as client:
        base = {"sys": sys, "mod": "Door", "index": 2}
        await client.ask(base | {"id": 1, "cmd": "bind", "name": "last_event"}, 2)
        await client.ask(base | {"id": 2, "cmd": "exec", "name": "unlock"}, 2)
        events = await demo.api.call("GET", f"/api/sites/{demo.site_id}/events?limit=20")
        opened = [event for event in events["events"] if event["topic"] == "device.input.relay.on"]
        assert opened[0]["metadata"]["caller"] == {"id": "demo-placeos", "level": "administrator", "via": "placeos"}
        # Somebody walks through, which the door tells, too.
        told = [json.loads(message["value"]) for message in client.messages if message["type"] == "notify"]
        assert opened[0]["id"] in [each["id"] for each in told if each is not None]
