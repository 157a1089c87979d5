"""The relay with MQTT, against the real broker in nats-server and devices as their makers document them."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from typing import Any

import aiomqtt
import msgspec
import pytest

from doorstream.directory import SYSTEM
from doorstream.drivers import ExecutionFailed
from doorstream.drivers.builtin import mqtt_relay as module
from doorstream.drivers.builtin.relays import RELAYS, Said
from doorstream.log import Connection, LogUnavailable
from doorstream.testing import SITE, until
from doorstream.testing.modules import House, running_drivers
from doorstream.testing.mqtt import Broker, SimulatedRelay, mqtt_broker

KINDS = ("tasmota", "shelly", "shelly2")


@pytest.fixture
async def broker() -> AsyncIterator[Broker]:
    """A broker that runs."""
    async with mqtt_broker() as broker:
        yield broker


@pytest.fixture
async def house(connection: Connection) -> AsyncIterator[House]:
    """A site with two doors that are real."""
    async with running_drivers(connection, sites={SITE: False}) as house:
        yield house


async def add_relay(house: House, broker: Broker, kind: str, **settings: Any) -> str:
    """A module that moves the first door."""
    given = {"host": "127.0.0.1", "port": broker.port, "device": "dev1", "kind": kind, "dwell": 3.0} | settings
    return await house.add_module("mqtt_relay", "Door", SITE, device_id="door-1", settings=given)


def happened(house: House) -> list[str]:
    """The topics of what happened at doors."""
    return [topic for topic in house.topics() if topic.startswith("device.")]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_door_is_unlocked_and_says_so(house: House, broker: Broker, kind: str) -> None:
    """The answer comes when the device has confirmed; the event says whose command it was."""
    async with SimulatedRelay(kind, "dev1").plugged_in(broker) as relay:
        contact = 1 if kind == "tasmota" else 0
        door = await add_relay(house, broker, kind, contact=contact)
        await until(lambda: house.status(door, "connected"))
        await until(lambda: house.status(door, "relay") is False)
        assert await house.call(door, "unlock") is True
        assert relay.on
        if kind != "shelly":
            assert relay.timer == 3.0
        await until(lambda: happened(house) == ["device.input.relay.on"])
        event = house.events[-1] if house.events[-1].topic == "device.input.relay.on" else house.events[-2]
        metadata = msgspec.json.decode(event.metadata)
        assert metadata["cause"] == "command"
        assert metadata["by"] == "Ada"
        await until(lambda: house.status(door, "locked") is False)
        await relay.open_contact(is_open=True)
        await relay.open_contact(is_open=False)
        await relay.open_contact(is_open=True)
        if kind != "shelly":
            await relay.switch(on=False)  # its timer
        await until(lambda: house.status(door, "locked") is True)
        await until(lambda: house.status(door, "door_position") == "open")
        assert sorted(happened(house)) == [
            "device.input.dps.closed",
            "device.input.dps.opened",
            "device.input.relay.off",
            "device.input.relay.on",
        ]


@pytest.mark.parametrize("kind", KINDS)
async def test_what_the_device_does_by_itself_is_an_event(house: House, broker: Broker, kind: str) -> None:
    """A button on the device, or another program; nobody's command."""
    async with SimulatedRelay(kind, "dev1").plugged_in(broker) as relay:
        door = await add_relay(house, broker, kind)
        await until(lambda: house.status(door, "relay") is False)
        await relay.switch(on=True)
        await until(lambda: happened(house) == ["device.input.relay.on"])
        assert "cause" not in msgspec.json.decode(house.events[-1].metadata)
        await house.call(door, "lock")
        assert not relay.on
        assert happened(house) == ["device.input.relay.on", "device.input.relay.off"]


async def test_holding_a_door_open(house: House, broker: Broker) -> None:
    async with SimulatedRelay("tasmota", "dev1").plugged_in(broker) as relay:
        door = await add_relay(house, broker, "tasmota")
        await until(lambda: house.status(door, "relay") is False)
        await house.call(door, "hold_open")
        assert relay.on
        assert relay.timer is None
        await until(lambda: house.status(door, "mode") == "held_open")
        await house.call(door, "hold_open", False)
        await until(lambda: house.status(door, "mode") == "normal")
        assert not relay.on


async def test_a_relay_that_is_switched_off_while_it_begins_to_hold_the_door_open(
    house: House, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log was away just then. The door counted as held open afterwards: who unlocked it was told that it is."""
    is_back, put_values = asyncio.Event(), house.ingest.put_values

    async def put_when_it_is_back(*given: Any) -> Any:
        await is_back.wait()
        return await put_values(*given)

    async with SimulatedRelay("shelly", "dev1").plugged_in(broker) as relay:
        door = await ready(house, broker)
        monkeypatch.setattr(house.ingest, "put_values", put_when_it_is_back)
        holding = asyncio.create_task(house.call(door, "hold_open"))
        await until(lambda: house.status(door, "relay") is True)
        await relay.switch(on=False)
        await until(lambda: house.status(door, "relay") is False)
        is_back.set()
        with pytest.raises(ExecutionFailed, match="switched off again"):
            await holding
        assert house.status(door, "held") is False
        assert await house.call(door, "unlock") is True
        assert relay.on


async def test_a_relay_that_is_switched_back_in_the_moment_of_its_confirmation(
    house: House, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both were taken in at once: the relay counted as on from then on, and that it went off was never told."""
    async with SimulatedRelay("shelly", "dev1").plugged_in(broker):
        door = await ready(house, broker, dwell=600.0)
        commanded, receive = asyncio.Event(), module.MqttRelay._receive

        async def receive_both(driver: Any, topic: str, payload: Any, *, is_kept: bool) -> None:
            await receive(driver, topic, payload, is_kept=is_kept)
            if payload == b"on":
                commanded.set()
                await receive(driver, topic, b"off", is_kept=False)

        monkeypatch.setattr(module.MqttRelay, "_receive", receive_both)
        assert await house.call(door, "unlock") is True
        assert commanded.is_set()
        await until(lambda: happened(house) == ["device.input.relay.on", "device.input.relay.off"])
        assert house.status(door, "relay") is False
        told = [event for event in house.events if event.topic.startswith("device.")]
        assert [msgspec.json.decode(event.metadata).get("by") for event in told] == ["Ada", None]


async def test_what_happened_first_is_kept_first(house: House, broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the log is away when it happens: what came next could overtake it, and the door count as unlocked."""
    monkeypatch.setattr(module, "_LOG_PAUSE", 0.2)
    put_values, refused = house.ingest.put_values, []

    async def put_the_second_time(*given: Any) -> Any:
        if not refused:
            refused.append(given)
            raise LogUnavailable("NATS is away")
        return await put_values(*given)

    async with SimulatedRelay("shelly", "dev1").plugged_in(broker) as relay:
        door = await ready(house, broker, dwell=600.0)
        monkeypatch.setattr(house.ingest, "put_values", put_the_second_time)
        unlocking = asyncio.create_task(house.call(door, "unlock"))
        await until(lambda: refused)
        await relay.switch(on=False)
        assert await unlocking is True
        await until(lambda: len(happened(house)) == 2)
        assert happened(house) == ["device.input.relay.on", "device.input.relay.off"]


async def test_a_hold_ends_with_the_relay_also_while_a_command_waits(
    house: House, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It went on: who unlocked the door from then on was told that it is, and it was locked."""
    monkeypatch.setattr(module, "_CONFIRMED_WITHIN", 0.2)
    async with SimulatedRelay("shelly", "dev1").plugged_in(broker) as relay:
        door = await ready(house, broker)
        await house.call(door, "hold_open")
        relay.is_deaf = True
        again = asyncio.create_task(house.call(door, "hold_open"))
        await asyncio.sleep(0.05)
        await relay.switch(on=False)
        with pytest.raises(ExecutionFailed):
            await again
        await until(lambda: house.status(door, "held") is False)
        relay.is_deaf = False
        assert await house.call(door, "unlock") is True
        assert relay.on


async def ready(house: House, broker: Broker, kind: str = "shelly", **settings: Any) -> str:
    """A module of which it is known how its relay stands."""
    door = await add_relay(house, broker, kind, **settings)
    await until(lambda: house.status(door, "connected") and house.status(door, "relay") is False)
    return door


async def test_a_shelly_is_locked_although_the_module_was_restarted(house: House, broker: Broker) -> None:
    """Its relay has no timer of its own; a restart within the dwell once left the door unlocked for ever."""
    async with SimulatedRelay("shelly", "dev1").plugged_in(broker) as relay:
        door = await ready(house, broker, dwell=5.0)
        await house.call(door, "unlock")
        assert house.status(door, "lock_due") > 0
        await house.drivers.restart(door)
        assert relay.on
        await until(lambda: house.status(door, "locked") is True, 30)
        assert not relay.on
        await until(lambda: house.status(door, "lock_due") is None)


async def test_a_shelly_is_locked_also_where_the_command_was_not_confirmed(
    house: House, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is confirmed too late for the caller was done all the same; and it is tried until it is confirmed."""
    monkeypatch.setattr(module, "_CONFIRMED_WITHIN", 0.1)
    monkeypatch.setattr(module, "_LOCK_PAUSE", 0.05)
    relay = SimulatedRelay("shelly", "dev1")
    async with relay.plugged_in(broker):
        door = await ready(house, broker, dwell=0.2)
        relay.is_deaf = True
        with pytest.raises(ExecutionFailed, match="did not confirm"):
            await house.call(door, "unlock")
        await relay.switch(on=True)
        await until(lambda: house.status(door, "locked") is False)
    await until(lambda: house.status(door, "connected") is False)
    relay.is_deaf = False
    async with relay.plugged_in(broker):
        await until(lambda: house.status(door, "locked") is True)
        assert not relay.on
        await until(lambda: house.status(door, "lock_due") is None)


async def test_a_relay_whose_own_timer_fails_is_locked(
    house: House, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that kept it is left alone."""
    monkeypatch.setattr(module, "_OWN_TIMER", 0.5)
    async with SimulatedRelay("tasmota", "dev1").plugged_in(broker) as relay:
        door = await ready(house, broker, "tasmota", dwell=1.0)
        await house.call(door, "unlock")
        await until(lambda: house.status(door, "lock_due") is None)
        assert relay.commands[-1] == "cmnd/dev1/POWER1 OFF"
        await house.call(door, "unlock")
        await relay.switch(on=False)
        relay.commands.clear()
        await until(lambda: house.status(door, "lock_due") is None)
        assert relay.commands == []


async def test_a_second_unlock_never_shortens_the_first(house: House, broker: Broker) -> None:
    """It makes it longer; so does one after the dwell was made shorter, which leaves it as it was."""
    async with SimulatedRelay("tasmota", "dev1").plugged_in(broker) as relay:
        door = await ready(house, broker, "tasmota", dwell=60.0)
        await house.call(door, "unlock")
        first = house.status(door, "lock_due")
        await house.call(door, "unlock")
        second = house.status(door, "lock_due")
        assert second > first
        given = {"host": "127.0.0.1", "port": broker.port, "device": "dev1", "kind": "tasmota", "dwell": 1.0}
        await house.drivers.change(door, lambda each: dataclasses.replace(each, settings=given), SYSTEM)
        await house.drivers.settled()
        await house.call(door, "unlock")
        assert house.status(door, "lock_due") == second
        assert relay.timer is not None
        assert relay.timer > 50


async def test_a_door_that_is_held_open_stays_open(house: House, broker: Broker) -> None:
    """To unlock it neither ends the hold nor touches the relay; nothing that was due ends it; a restart neither."""
    async with SimulatedRelay("shelly", "dev1").plugged_in(broker) as relay:
        door = await ready(house, broker, dwell=20.0)
        await house.call(door, "unlock")
        await house.call(door, "hold_open")
        assert house.status(door, "lock_due") is None
        await house.drivers.restart(door)
        await until(lambda: house.status(door, "connected"))
        relay.commands.clear()
        assert await house.call(door, "unlock") is True
        assert not [command for command in relay.commands if command.endswith(("on", "off"))]
        assert house.status(door, "lock_due") is None
        assert happened(house) == ["device.input.relay.on", "device.forceopen.on"]
        await house.call(door, "lock")
        assert not relay.on
        assert happened(house)[2:] == ["device.input.relay.off", "device.forceopen.off"]
        await until(lambda: house.status(door, "mode") == "normal")


async def test_a_hold_ends_with_the_relay(house: House, broker: Broker) -> None:
    """Somebody presses the device's button: the door is locked, and nobody says any more that it is held open."""
    async with SimulatedRelay("tasmota", "dev1").plugged_in(broker) as relay:
        door = await ready(house, broker, "tasmota")
        await house.call(door, "hold_open")
        await relay.switch(on=False)
        await until(lambda: house.status(door, "mode") == "normal")
        await until(lambda: len(happened(house)) == 4)
        assert happened(house)[2:] == ["device.input.relay.off", "device.forceopen.off"]
        assert await house.call(door, "unlock") is True
        assert relay.on


@pytest.mark.parametrize(
    ("kind", "topic", "payload"), [("tasmota", "stat/dev1/POWER", "ON"), ("shelly", "shellies/dev1/relay/0", "on")]
)
async def test_what_the_broker_kept_is_no_sign_of_life(
    house: House, broker: Broker, kind: str, topic: str, payload: str
) -> None:
    """A device that is long gone was "there" because the broker still had its last word."""
    async with aiomqtt.Client("127.0.0.1", broker.port, identifier="earlier") as client:
        await client.publish(topic, payload, qos=1, retain=True)
        door = await add_relay(house, broker, kind)
        await until(lambda: house.status(door, "relay") is True)
        assert house.status(door, "connected") is False
        with pytest.raises(ExecutionFailed, match="the relay is offline"):
            await house.call(door, "unlock")
        await client.publish(topic, payload, qos=1)
        await until(lambda: house.status(door, "connected"))


@pytest.mark.parametrize("kind", KINDS)
def test_whether_a_device_is_there_is_asked_last(kind: str) -> None:
    assert RELAYS[kind]("dev1", 0, 0).topics[-1].endswith(("/LWT", "/online"))


async def test_a_door_is_not_said_to_be_open_before_it_is(
    house: House, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device that does not answer, is unplugged, or whose broker is gone: the caller is told, and no event lies."""
    monkeypatch.setattr(module, "_CONFIRMED_WITHIN", 0.3)
    relay = SimulatedRelay("tasmota", "dev1")
    async with relay.plugged_in(broker):
        door = await add_relay(house, broker, "tasmota")
        await until(lambda: house.status(door, "relay") is False)
        relay.is_deaf = True
        with pytest.raises(ExecutionFailed, match="did not confirm") as failed:
            await house.call(door, "unlock")
        assert failed.value.code == 504
    await until(lambda: house.status(door, "connected") is False)
    with pytest.raises(ExecutionFailed, match="the relay is offline"):
        await house.call(door, "unlock")
    await broker.stop()
    await until(lambda: not house.drivers.module(door).connected)
    with pytest.raises(ExecutionFailed, match="broker cannot be reached"):
        await house.call(door, "unlock")
    assert happened(house) == []


async def test_what_was_missed_while_the_broker_was_away_is_found_out(house: House, broker: Broker) -> None:
    relay = SimulatedRelay("tasmota", "dev1")
    async with relay.plugged_in(broker):
        door = await add_relay(house, broker, "tasmota")
        await until(lambda: house.status(door, "relay") is False)
    await until(lambda: house.status(door, "connected") is False)
    relay.on = True
    async with relay.plugged_in(broker):
        await until(lambda: happened(house) == ["device.input.relay.on"])
        assert house.status(door, "connected")


async def test_nonsense_from_a_device_changes_nothing(house: House, broker: Broker) -> None:
    """Damaged, foreign, huge: none of it is taken for a state, and the door can still be moved."""
    async with SimulatedRelay("tasmota", "dev1").plugged_in(broker) as relay:
        door = await add_relay(house, broker, "tasmota", contact=1)
        await until(lambda: house.status(door, "relay") is False)
        for topic in ("stat/dev1/POWER", "stat/dev1/SWITCH1", "stat/dev1/RESULT", "stat/dev1/POWER2"):
            for payload in (b"", b"\xff\xfe", b"{", b"[1]", b"ONN", b"x" * 100_000, b'{"ACTION": 7}', b"null"):
                await relay.say(topic, payload)
        await relay.say("stat/dev2/POWER", b"ON")
        assert await house.call(door, "unlock") is True
        assert happened(house) == ["device.input.relay.on"]


@pytest.mark.parametrize(
    ("settings", "where"),
    [({"port": 70_000}, "port"), ({"device": "a/+"}, "device"), ({"kind": "zwave"}, "kind"), ({"dwell": 0}, "dwell")],
)
async def test_settings_that_cannot_be(house: House, broker: Broker, settings: dict[str, Any], where: str) -> None:
    door = await add_relay(house, broker, **({"kind": "tasmota"} | settings))
    assert not house.drivers.module(door).running
    assert where in house.drivers.module(door).error


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "payload", [b"", b"\xff", b"{}", b"[]", b"null", b'{"result": 3}', b'{"output": "on"}', b"9" * 9999]
)
def test_reading_never_fails(kind: str, payload: bytes) -> None:
    relay = RELAYS[kind]("dev1", 0, 0)
    for topic in ("", "dev1/rpc", "doorstream/dev1/0/rpc", "dev1/status/switch:0", *relay.topics):
        said = relay.read(topic, payload)
        assert said is None or said == Said()


@pytest.mark.parametrize(
    ("seconds", "pulse"), [(None, 0), (0.01, 1), (5, 50), (11.1, 111), (12, 112), (60, 160), (1e6, 64_900)]
)
def test_tasmotas_pulse_times(seconds: float | None, pulse: int) -> None:
    (message,) = RELAYS["tasmota"]("dev1", 2, None).on(seconds)
    assert message == ("cmnd/dev1/Backlog", f"PulseTime2 {pulse}; POWER2 ON")
