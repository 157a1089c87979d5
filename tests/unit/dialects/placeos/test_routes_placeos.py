"""The control socket, over a real server; modules are the test's (seed 001; vendor-apis.md 2)."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
import websockets
from placeos_support import META, PATH, SYS, Room, key, open_room
from structlog.testing import capture_logs

from doorstream.dialects.placeos import routes
from doorstream.dialects.placeos.routes import ControlConnection
from doorstream.dialects.placeos.session import MAX_SUSPICIONS
from doorstream.directory import SYSTEM
from doorstream.events.entities import System
from doorstream.gateway import Limits
from doorstream.log import Connection
from doorstream.protocols.websocket import UpgradeRequest
from world import OTHER

PATIENCE = 30.0


def bearer(room: Room, name: str = "admin", scopes: tuple[str, ...] = ("public",)) -> str:
    """An access token of one of ``CLIENTS``."""
    principal = room.auth.client(name)
    assert principal is not None
    return room.tokens.issue(principal, scopes, room.clock())


@pytest.fixture
def places(room: Room) -> list[tuple[dict[str, str], str]]:
    """The six places of a credential in the vendor's order: headers, and a query."""
    token = bearer(room)
    return [
        ({"X-API-Key": key("admin")}, ""),
        ({}, f"?api-key={key('admin')}"),
        ({"Cookie": f"api-key={key('admin')}"}, ""),
        ({"Authorization": f"Bearer {token}"}, ""),
        ({}, f"?bearer_token={token}"),
        ({"Cookie": f"bearer_token={token}"}, ""),
    ]


async def test_pos_01_all_six_places_and_pos_05_their_forms(
    room: Room, places: list[tuple[dict[str, str], str]]
) -> None:
    """Headers get the documented string, queries and cookies raw JSON (D4)."""
    for headers, query in places:
        async with room.connect(None, headers=headers, query=query) as client:
            _, notify = await client.bind()
            is_header = not query and "Cookie" not in headers
            assert notify["value"] == ("[]" if is_header else []), (headers, query)


async def test_pos_01_the_first_place_counts(room: Room, places: list[tuple[dict[str, str], str]]) -> None:
    """A bad credential at a place before a good one is refused; at a later place it makes no difference."""
    bad = [
        ({"X-API-Key": "ds_x_y"}, ""),
        ({}, "?api-key=bad"),
        ({"Cookie": "api-key=bad"}, ""),
        ({"Authorization": "Bearer bad"}, ""),
        ({}, "?bearer_token=bad"),
    ]
    for at, (headers, query) in enumerate(bad):
        for good_headers, good_query in places[at + 1 :]:
            joined = {**good_headers, **headers}
            if "Cookie" in headers and "Cookie" in good_headers:
                joined["Cookie"] = f"{good_headers['Cookie']}; {headers['Cookie']}"
            both = query + good_query.replace("?", "&") if query else good_query
            with pytest.raises(websockets.InvalidStatus) as caught:
                async with room.connect(None, headers=joined, query=both):
                    pass
            assert caught.value.response.status_code == 401
    async with room.connect("admin", headers={"Authorization": "Bearer bad"}, query="?bearer_token=bad") as client:
        assert await client.ask("ping") == "pong"


@pytest.mark.parametrize("prefix", ["Bearer ", "Token ", "bearer ", ""])
async def test_pos_01_prefixes_of_the_header(room: Room, prefix: str) -> None:
    for text in (bearer(room), key("user")):
        async with room.connect(None, headers={"Authorization": prefix + text}) as client:
            assert await client.ask("ping") == "pong"


async def test_pos_02_401_has_json_and_403_nothing(room: Room) -> None:
    for name, headers, status in (
        (None, {}, 401),
        (None, {"X-API-Key": "ds_admin_wrong"}, 401),
        (None, {"Authorization": "Bearer eyJ.x.y"}, 401),
        ("reader", {}, 403),
        (None, {"Authorization": f"Bearer {bearer(room, scopes=('systems',))}"}, 403),
        (None, {"Authorization": f"Bearer {bearer(room, scopes=('control.read',))}"}, 403),
    ):
        with pytest.raises(websockets.InvalidStatus) as caught:
            async with room.connect(name, headers=headers | {"X-Request-ID": "mine"}):
                pass
        response = caught.value.response
        assert response.status_code == status
        assert response.headers["X-Request-ID"] == "mine"
        if status == 401:
            assert response.headers["Content-Type"] == "application/json"
            assert set(json.loads(response.body)) == {"error"}
        else:
            assert response.body == b""
    async with room.connect(None, headers={"Authorization": f"Bearer {bearer(room, scopes=('control.write',))}"}):
        pass


async def test_an_expired_token_is_refused_and_an_open_socket_stays(room: Room) -> None:
    headers = {"Authorization": f"Bearer {bearer(room)}"}
    async with room.connect(None, headers=headers) as client:
        room.clock.now += 7201
        with pytest.raises(websockets.InvalidStatus):
            async with room.connect(None, headers=headers):
                pass
        room.presence.recheck_soon()
        await asyncio.sleep(0.2)
        assert await client.ask("ping") == "pong"


async def test_pos_13_a_cookie_counts_from_our_own_pages_only(room: Room) -> None:
    """D11: a page of another origin cannot use the browser's cookie; a credential in the query works from anywhere."""
    cookie = {"Cookie": f"api-key={key('user')}"}
    for origin in (room.url, room.url.upper().replace("HTTP", "http"), "https://app.example"):
        async with room.connect(None, headers=cookie | {"Origin": origin}) as client:
            assert await client.ask("ping") == "pong"
    for origin in ("https://evil.example", "null", "https://app.example.evil.example", room.url + "0"):
        with pytest.raises(websockets.InvalidStatus) as caught:
            async with room.connect(None, headers=cookie | {"Origin": origin}):
                pass
        assert caught.value.response.status_code == 401
        async with room.connect(None, headers={"Origin": origin}, query=f"?api-key={key('user')}") as client:
            assert await client.ask("ping") == "pong"


async def test_pos_03_ping_is_answered_at_once(room: Room) -> None:
    """Long before a pong that nobody has asked for."""
    assert routes.PONG_EVERY == 80
    async with room.connect() as client:
        assert await client.ask("ping") == "pong"


async def test_pos_03_pongs_come_by_themselves(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """Again and again, until the client goes."""
    monkeypatch.setattr(routes, "PONG_EVERY", 0.02)
    async with open_room(connection) as room:
        async with room.connect() as client:
            assert [await client.receive() for _ in range(3)] == ["pong"] * 3
            (present,) = room.presence._present
            assert present in room.stream.pongs
        await until(lambda: not room.presence._present)
        assert present not in room.stream.pongs


async def test_pos_04_bind_gives_success_with_meta_and_then_the_value(room: Room) -> None:
    async with room.connect() as client:
        command = client.command("bind")
        assert await client.ask(command) == {"id": 1, "type": "success", "meta": META}
        assert await client.receive() == {"id": 1, "type": "notify", "value": "[]", "meta": META}
        room.drivers.status.set("mod-bookings", "bookings", [1])
        assert await client.receive() == {"id": 1, "type": "notify", "value": "[1]", "meta": META}


async def test_a_variable_without_a_value_is_told_when_it_has_one(room: Room) -> None:
    async with room.connect() as client:
        (success,) = await client.bind(name="later")
        assert success["type"] == "success"
        room.drivers.status.set("mod-bookings", "later", None)
        assert (await client.receive())["value"] == "null"


@pytest.mark.parametrize("value", [1, "text", None, {"a": [True]}])
async def test_pos_05_values_of_any_type_both_ways(room: Room, value: Any) -> None:
    room.drivers.status.set("mod-bookings", "bookings", value)
    chosen = {"": json.dumps(value), "?notify_value=json": value, "?notify_value=string": json.dumps(value)}
    for query, expected in chosen.items():
        async with room.connect(query=query) as client:
            notified = (await client.bind())[1]["value"]
            if query == "?notify_value=json":
                assert notified == expected
            else:
                assert json.loads(notified) == value
                assert isinstance(notified, str)
    async with room.connect(None, query=f"?api-key={key('user')}&notify_value=string") as client:
        assert json.loads((await client.bind())[1]["value"]) == value


async def test_pos_06_meta_repeats_what_was_sent(room: Room) -> None:
    """Also on a binding of the same variable by another address."""
    async with room.connect() as client:
        for index in ({}, {"index": None}, {"index": 1}):
            command = client.command("bind", name=f"variable for {index}")
            del command["index"]
            answer = await client.ask(command | index)
            assert answer["meta"] == {"sys": SYS, "mod": "Bookings", "index": 1, "name": command["name"]}
        answer = await client.ask(client.command("exec", name="make_booking", args=[5], id='é"x'))
        assert (answer["id"], answer["meta"]["name"]) == ('é"x', "make_booking")


async def test_pos_07_second_bind_and_unbind(room: Room) -> None:
    async with room.connect() as client:
        first = await client.bind(id="a")
        second = await client.bind(id="b")
        assert [message["type"] for message in first + second] == ["success", "notify", "success"]
        room.drivers.status.set("mod-bookings", "bookings", [2])
        assert (await client.receive())["id"] == "a"
        assert await client.rest() == []
        assert await client.ask(client.command("unbind", id="c")) == {"id": "c", "type": "success", "meta": META}
        room.drivers.status.set("mod-bookings", "bookings", [3])
        assert await client.rest() == []
        assert (await client.ask(client.command("unbind")))["type"] == "success"
        assert [message["type"] for message in await client.bind()] == ["success", "notify"]


async def test_pos_08_a_binding_made_before_its_module_exists(room: Room) -> None:
    async with room.connect() as client:
        (success,) = await client.bind(index=2)
        assert success["type"] == "success"
        room.drivers.status.values["mod-second"] = {"bookings": b"[7]"}
        room.drivers.add(room.drivers.all["mod-bookings"].site_id, "mod-second")
        assert (await client.receive())["value"] == "[7]"
        room.drivers.status.set("mod-second", "bookings", [8])
        assert (await client.receive())["value"] == "[8]"
        room.drivers.remove("mod-second")
        assert (await client.receive())["value"] == "null"


async def test_pos_08_a_module_that_is_put_into_a_system(room: Room) -> None:
    async with room.connect() as client:
        site_id = room.drivers.all["mod-bookings"].site_id
        system = System(id="sys-new", site_id=site_id, name="Room", version=0, created="", updated="")
        system = await room.directory.create(system, SYSTEM)
        (success,) = await client.bind(sys="sys-new")
        assert success["type"] == "success"
        await room.directory.change(
            system, lambda old: type(old)(**{**_fields(old), "modules": ("mod-bookings",)}), SYSTEM
        )
        notify = await client.receive()
        assert (notify["value"], notify["meta"]["sys"]) == ("[]", "sys-new")


def _fields(entity: System) -> dict[str, Any]:
    return {name: getattr(entity, name) for name in entity.__dataclass_fields__}


async def test_pos_09_exec_and_its_errors(room: Room) -> None:
    async with room.connect("user") as client:
        answer = await client.ask(client.command("exec", name="make_booking", args=[1631058815]))
        meta = META | {"name": "make_booking"}
        assert answer == {"id": 1, "type": "success", "meta": meta, "value": {}, "code": 200}
        answer = await client.ask(client.command("exec", name="nothing"))
        assert "value" in answer
        assert answer["value"] is None
        failing = [
            ({"name": "unknown"}, 1),
            ({"name": "make_booking", "args": []}, 1),
            ({"name": "make_booking", "args": ["x"]}, 1),
            ({"name": "clear"}, 2),
            ({"name": "broken"}, 3),
            ({"mod": "Window"}, 6),
            ({"index": 9}, 6),
            ({"sys": "sys-none"}, 5),
            ({"sys": f"sys-{OTHER}"}, 2),
        ]
        for more, code in failing:
            command = client.command("exec", **more)
            answer = await client.ask(command)
            assert (answer["type"], answer["id"], answer["code"], answer["error_code"]) == (
                "error",
                command["id"],
                code,
                code,
            )
            assert answer["msg"]
    _, name, args, caller = room.drivers.calls[0]
    assert (name, args, caller.id, caller.level, caller.via) == (
        "make_booking",
        [1631058815],
        "user",
        "user",
        "placeos",
    )


@pytest.mark.parametrize(
    ("message", "code", "answered"),
    [
        ("{", 0, 0),
        ('{"id":3}', 1, 3),
        ('{"id":"x","cmd":"dance"}', 4, "x"),
        ('{"id":4,"cmd":"bind","sys":"sys-0","mod":"D","name":"n"}', 5, 4),
        (b'{"id":5,"cmd":"exec","sys":"sys-0","mod":"D","name":"n"}', 5, 5),
    ],
)
async def test_every_bad_command_is_answered(room: Room, message: str | bytes, code: int, answered: Any) -> None:
    async with room.connect() as client:
        await client.socket.send(message)
        answer = await client.receive()
        assert (answer["type"], answer["id"], answer["code"], answer["error_code"]) == ("error", answered, code, code)
        assert await client.ask("ping") == "pong"


async def test_code_7_what_should_never_happen(room: Room) -> None:
    async def explode() -> None:
        raise ZeroDivisionError

    room.drivers.answers["nothing"] = explode
    async with room.connect() as client:
        with capture_logs():
            answer = await client.ask(client.command("exec", name="nothing"))
        assert (answer["code"], answer["error_code"]) == (7, 7)
        assert "Zero" not in answer["msg"]


async def test_access_denied_is_logged_with_who_and_which_system(room: Room) -> None:
    async with room.connect("user") as client:
        with capture_logs() as logs:
            assert (await client.ask(client.command("bind", sys=f"sys-{OTHER}")))["code"] == 2
    (line,) = [each for each in logs if each["log_level"] == "warning"]
    assert (line["caller"], line["system"]) == ("user", f"sys-{OTHER}")


@pytest.mark.parametrize(("name", "allowed"), [("user", 0), ("support", 1), ("admin", 2)])
async def test_pos_10_levels_of_methods(room: Room, name: str, allowed: int) -> None:
    async with room.connect(name) as client:
        for at, method in enumerate(("nothing", "clear", "destroy")):
            answer = await client.ask(client.command("exec", name=method))
            assert answer["type"] == ("success" if at <= allowed else "error")
            assert at <= allowed or answer["code"] == 2


async def test_pos_11_two_debuggers(room: Room) -> None:
    """By name and by id; what one ignores the other still follows."""
    async with room.connect() as first, room.connect() as second:
        answer = await first.ask(first.command("debug", name="debug"))
        meta = {"sys": SYS, "mod": "Bookings", "index": 1}
        assert answer == {"id": 1, "type": "success", "mod_id": "mod-bookings", "meta": meta}
        answer = await second.ask(second.command("debug", mod="mod-bookings", index=None, name="debug"))
        assert answer["mod_id"] == "mod-bookings"
        room.drivers.say("mod-bookings", "debug", "input changed to HDMI")
        line = await first.receive()
        assert line == {
            "id": 1,
            "type": "debug",
            "mod": "mod-bookings",
            "klass": "SimulatedBookings",
            "level": "debug",
            "msg": "input changed to HDMI",
            "meta": META | {"name": "debug"},
        }
        assert (await second.receive())["meta"]["mod"] == "mod-bookings"
        answer = await first.ask(first.command("ignore", mod="mod-bookings", index=None, name="ignore"))
        assert answer == {"id": 2, "type": "success"}
        assert len(room.drivers.sinks["mod-bookings"]) == 1
        room.drivers.say("mod-bookings", "info", "second only")
        assert await first.rest() == []
        assert (await second.receive())["msg"] == "second only"
    await until(lambda: not room.drivers.sinks["mod-bookings"])


async def test_executions_run_beside_everything_else(room: Room) -> None:
    """A slow method holds up neither bindings nor other executions; each answer finds its command by id."""
    gates = {number: asyncio.Event() for number in range(3)}

    async def wait(number: int) -> int:
        await gates[number].wait()
        return number

    room.drivers.answers["make_booking"] = wait
    async with room.connect() as client:
        for number in range(3):
            await client.send(client.command("exec", name="make_booking", args=[number]))
        assert [message["type"] for message in await client.bind()] == ["success", "notify"]
        for number in (2, 0, 1):
            gates[number].set()
            answer = await client.receive()
            assert (answer["id"], answer["value"]) == (number + 1, number)


async def test_a_method_goes_on_when_its_client_is_gone(room: Room) -> None:
    gate, done = asyncio.Event(), asyncio.Event()

    async def work(_: int) -> None:
        await gate.wait()
        done.set()

    room.drivers.answers["make_booking"] = work
    async with room.connect() as client:
        await client.send(client.command("exec", name="make_booking", args=[1]))
        await until(lambda: room.drivers.calls)
    await until(lambda: not room.presence._present)
    gate.set()
    async with asyncio.timeout(PATIENCE):
        await done.wait()


async def test_pos_15_after_a_reconnect_a_bind_gives_the_present_value(room: Room) -> None:
    async with room.connect() as client:
        await client.bind()
        client.socket.transport.abort()
    room.drivers.status.set("mod-bookings", "bookings", ["meanwhile"])
    async with room.connect() as client:
        assert (await client.bind())[1]["value"] == '["meanwhile"]'
    await until(lambda: len(room.presence._present) == 0)
    assert len(room.stream.bindings) == 0


async def test_a_suspicious_client_is_logged_and_finally_closed(room: Room) -> None:
    with capture_logs() as logs:
        async with room.connect() as client:
            for number in range(MAX_SUSPICIONS):
                answer = await client.ask({"id": number, "cmd": "hack"})
                assert answer["code"] == 4
            with pytest.raises(websockets.ConnectionClosed) as caught:
                await client.receive()
            assert caught.value.rcvd is not None
            assert caught.value.rcvd.code == 1008
    lines = [line for line in logs if line["event"] == "a suspicious client"]
    assert len(lines) == 1
    assert lines[0]["caller"] == "admin"
    assert room.stream.counters.suspicious == MAX_SUSPICIONS


@pytest.mark.parametrize("change", ["disabled", "rotated", "deleted", "scopes"])
async def test_a_revoked_client_is_disconnected_at_once(room: Room, change: str) -> None:
    client_entity = room.directory.clients.get("user")
    assert client_entity is not None
    token = {"Authorization": f"Bearer {bearer(room, 'user')}"}
    async with room.connect("user") as by_key, room.connect(None, headers=token) as by_token, room.connect() as other:
        await by_key.bind()
        if change == "deleted":
            await room.directory.delete(client_entity, SYSTEM)
        else:
            fields = {name: getattr(client_entity, name) for name in client_entity.__dataclass_fields__}
            changes = {"disabled": {"disabled": True, "generation": "h"}, "rotated": {"generation": "h"}}
            new = fields | changes.get(change, {"scopes": ("directory:read",)})
            await room.directory.change(client_entity, lambda old: type(old)(**new), SYSTEM)
        async with asyncio.timeout(PATIENCE):  # it takes a tenth of a second, but a busy machine may be late
            for client in (by_key, by_token):
                with pytest.raises(websockets.ConnectionClosed) as caught:
                    await client.socket.recv()
                assert caught.value.rcvd is not None
                assert caught.value.rcvd.code == 1008
        assert await other.ask("ping") == "pong"


async def test_a_revoked_client_is_gone_within_a_second(room: Room) -> None:
    """A busy machine may be late now and then, but not each time."""
    loop = asyncio.get_running_loop()
    for generation in "hijkl":
        async with room.connect("user") as client:
            await client.bind()
            revoked, began = room.directory.clients.get("user"), loop.time()
            assert revoked is not None
            await room.directory.change(revoked, lambda old, new=generation: replace(old, generation=new), SYSTEM)
            with pytest.raises(websockets.ConnectionClosed):
                await client.socket.recv()
            if loop.time() - began < 1:
                return
    pytest.fail("it was there for longer each time")


async def test_who_is_revoked_between_the_upgrade_and_its_opening_does_not_stay(room: Room) -> None:
    """It was let in before, and came to those who are looked through after everybody had been looked through.

    The time between is a hundredth of a second; who hit it stayed for as long as it liked, its rights withdrawn.
    """
    head = f"GET {PATH} HTTP/1.1\r\nhost: x\r\nx-api-key: {key('user')}"
    handler = room.stream.open(UpgradeRequest.parse(head.encode()))
    assert isinstance(handler, ControlConnection)
    revoked = room.directory.clients.get("user")
    assert revoked is not None
    await room.directory.delete(revoked, SYSTEM)
    await until(lambda: room.presence._pending is None)
    closed: list[int] = []
    transport = SimpleNamespace(get_write_buffer_size=None)
    connection = SimpleNamespace(
        write=None, drained=None, transport=transport, close=lambda code, _reason: closed.append(code)
    )
    handler.opened(cast("Any", connection))
    assert closed == [1008]


async def test_a_slow_client_gets_last_values_and_every_answer(connection: Connection) -> None:
    """Values coalesce; answers to ``exec`` are all there, each once (vendor-apis.md 2.7, slow consumers)."""
    answers, values, size = 40, 2000, 20_000
    async with open_room(connection, Limits(low_water=20_000)) as room, room.connect() as client:
        await client.bind()
        client.socket.transport.pause_reading()
        for number in range(answers):
            await client.send(client.command("exec", name="make_booking", args=[number], id=f"exec {number}"))
        for number in range(values):
            room.drivers.status.set("mod-bookings", "bookings", [number, "x" * size])
            if number % 10 == 0:
                await asyncio.sleep(0)
        await until(lambda: len(room.drivers.calls) == answers)
        client.socket.transport.resume_reading()
        messages, last = [], None
        while last != values - 1:
            messages.append(await client.receive())
            if messages[-1]["type"] == "notify":
                last = json.loads(messages[-1]["value"])[0]
        messages += await client.rest()
        notified = [json.loads(message["value"])[0] for message in messages if message["type"] == "notify"]
        assert notified == sorted(set(notified))
        assert len(notified) < values
        answered = [message["id"] for message in messages if message["type"] == "success"]
        assert sorted(answered) == sorted(f"exec {number}" for number in range(answers))


async def test_a_plain_request_is_told_to_upgrade(room: Room) -> None:
    answer = await room.http("GET", PATH)
    assert (answer.status, answer.headers["Upgrade"]) == (426, "websocket")


async def until(condition: Any) -> None:
    """Wait until it is so."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - there is nothing to wait for but the condition itself
            await asyncio.sleep(0.01)
