"""The built-in drivers of doors, with the events that they show and cause."""

from __future__ import annotations

import dataclasses
import json
import time

import pytest

from doorstream.directory import SYSTEM
from doorstream.drivers import Driver, ExecutionFailed, NotAllowed
from doorstream.drivers.simulated import Building, Story
from doorstream.log import Connection
from doorstream.server.demo import building_entities
from doorstream.testing import OTHER_SITE, SITE, until
from doorstream.testing.modules import USER, running_drivers

REAL = {SITE: False}


def happened(topic, device="door-1", **body):
    return {"topic": topic, "occurred": 1_769_853_600_000, "body": {"deviceId": device, **body}}


def follow_cloud_nodes(house):
    """Have the directory know what cloud nodes say before modules are told, as the server does."""
    receive = house.drivers.receive

    def noted(event):
        if event.topic.startswith("cloudnode."):
            serial, connected = json.loads(event.body)["serialNumber"], event.topic == "cloudnode.connected"
            house.directory.site(event.site_id).note_status(serial, connected=connected, occurred=event.occurred)
        receive(event)

    house.drivers.receive = noted


async def put(house, *events, site_id=SITE):
    await house.ingest.put_values(site_id, house.directory.site(site_id), list(events))


async def test_a_real_door_is_what_its_events_say(connection):
    """And it cannot be moved: null is "not supported"."""
    async with running_drivers(connection, sites=REAL) as house:
        door, other = house.doors()
        assert house.status(door, "locked") is None
        assert house.status(door, "connected") is False
        await put(
            house,
            happened("device.request.allowed", holderId="holder-1"),
            happened("device.input.relay.on"),
            happened("device.input.dps.opened"),
            happened("device.forceopen.on"),
            happened("device.alarm.propped.on"),
        )
        await until(lambda: house.status(door, "alarms") == ["propped"])
        assert house.status(door, "locked") is False
        assert house.status(door, "door_position") == "open"
        assert house.status(door, "mode") == "held_open"
        assert house.status(door, "connected") is True
        recent = house.status(door, "recent_events")
        assert [event["topic"].rpartition("device.")[2] for event in recent] == [
            "alarm.propped.on",
            "forceopen.on",
            "input.dps.opened",
            "input.relay.on",
            "request.allowed",
        ]
        assert recent[-1]["holder"] == {"id": "holder-1", "name": "Hanna Holt"}
        assert recent[-1]["action"] == "granted"
        assert house.status(door, "last_event") == recent[0]
        assert house.status(other, "locked") is None
        for function in ("unlock", "lock", "hold_open", "do_not_disturb"):
            assert await house.call(door, function) is None
        assert await house.call(door, "unlock", "door-1") is None
        assert await house.call(door, "unlock", "door-2") is False
        assert len(house.events) == 5


async def test_a_door_is_after_a_restart_what_it_was(connection, nats_url):
    """Also what happened while nobody looked, and what happened long before the last twenty events."""
    async with running_drivers(connection, sites=REAL) as house:
        await put(house, happened("device.forceclose.on"), happened("device.input.relay.on"))
        await put(house, *[happened("device.input.dps.opened"), happened("device.input.dps.closed")] * 15)
        drivers_stopped = house.drivers
        await until(lambda: house.status(house.doors()[0], "door_position") == "closed")
        await drivers_stopped.close()
        await put(house, happened("device.input.relay.off"), happened("device.input.dps.opened", device="door-2"))
    again = Connection()
    await again.open(nats_url)
    async with running_drivers(again, sites=REAL) as house:
        first, second = house.doors()
        assert house.status(first, "mode") == "do_not_disturb"
        assert house.status(first, "locked") is True
        assert house.status(first, "door_position") == "closed"
        assert house.status(second, "door_position") == "open"
        assert len(house.status(first, "recent_events")) == 20
        assert house.status(first, "last_event")["topic"] == "device.input.relay.off"
    await again.close()


async def test_a_door_whose_cloud_node_is_away_is_not_connected(connection):
    """Its own word counts, not when it was last heard, and a late one does not."""
    async with running_drivers(connection, sites=REAL) as house:
        follow_cloud_nodes(house)
        door = house.doors()[0]
        for topic, connected in (("cloudnode.disconnected", False), ("cloudnode.connected", True)):
            event = {"topic": topic, "occurred": 1_769_853_600_000, "body": {"serialNumber": "NODE1"}}
            await put(house, event)
            await until(lambda now=connected: house.status(door, "connected") is now)
        late = {"topic": "cloudnode.disconnected", "occurred": 1_769_853_500_000, "body": {"serialNumber": "NODE1"}}
        await put(house, late, happened("device.input.relay.on"))
        await until(lambda: house.status(door, "locked") is False)
        assert house.status(door, "connected") is True


async def test_a_late_event_does_not_say_what_the_door_is_now(connection, nats_url):
    """A door was "unlocked" for as long as nobody used it, by an event that a cloud node had kept while it was away."""
    now = 1_769_853_600_000
    async with running_drivers(connection, sites=REAL) as house:
        door = house.doors()[0]
        current = ("input.relay.off", "input.dps.closed", "forceopen.off", "alarm.tamper.off")
        late = ("input.relay.on", "input.dps.opened", "forceopen.on", "alarm.tamper.on")
        await put(house, *[happened(f"device.{topic}") for topic in current])
        await put(house, *[happened(f"device.{topic}") | {"occurred": now - 1} for topic in late])
        await put(house, *[happened("device.request.unknown")] * 20)

        def is_right(house):
            variables = ("locked", "door_position", "mode", "alarms")
            return [house.status(door, variable) for variable in variables] == [True, "closed", "normal", []]

        await until(lambda: house.status(door, "last_event")["topic"] == "device.request.unknown")
        assert is_right(house)
    again = Connection()
    await again.open(nats_url)
    async with running_drivers(again, sites=REAL) as house:
        assert is_right(house)
    await again.close()


async def test_unlock_is_the_whole_sequence_and_says_who(connection):
    """The event that the other dialects live on: a relay that a command switched (D17), then what people do."""
    async with running_drivers(connection, doors=1) as house:
        (door,) = house.doors()
        assert house.status(door, "locked") is True
        assert house.status(door, "connected") is True
        assert await house.call(door, "unlock", caller=USER) is True
        await until(lambda: house.topics()[:1] == ["device.input.relay.on"])
        relay = house.events[0]
        assert relay.cause == "command"
        assert json.loads(relay.metadata) == {
            "cause": "command",
            "by": "Una",
            "caller": {"id": "una", "level": "user", "via": "test"},
            "module": door,
        }
        assert json.loads(relay.body)["device"]["name"] == "Door 1"
        await until(lambda: house.topics().count("device.input.relay.off") == 1)
        assert [topic for topic in house.topics() if topic != "x.command"] == [
            "device.input.relay.on",
            "device.input.dps.opened",
            "device.input.dps.closed",
            "device.input.relay.off",
        ]
        assert [event.cause for event in house.events if "dps" in event.topic] == [None, None]
        await until(lambda: house.status(door, "locked") is True)
        assert house.topics().count("x.command") == 1


async def test_pos_16_door_security(connection):
    """The standard interface on a door and on the site."""
    async with running_drivers(connection) as house:
        first, second = house.doors()
        control = next(view.id for view in house.drivers.modules(SITE) if view.name == "AccessControl")
        doors = [
            {"door_id": "door-1", "description": "Door 1"},
            {"door_id": "door-2", "description": "Door 2"},
        ]
        assert await house.call(first, "door_list") == doors[:1]
        assert await house.call(control, "door_list") == doors
        assert await house.call(first, "unlock", "door-2") is False
        assert house.status(first, "locked") is True
        assert await house.call(control, "unlock", "nobody") is False
        assert await house.call(control, "unlock", "door-2", caller=USER) is True
        await until(lambda: house.status(second, "locked") is False)
        relay = next(event for event in house.events if event.topic == "device.input.relay.on")
        assert json.loads(relay.metadata)["by"] == "Una"
        await until(lambda: house.topics().count("x.command") == 3)
        commands = [json.loads(event.body)["name"] for event in house.events if event.topic == "x.command"]
        assert commands == ["Door", "AccessControl", "AccessControl"]  # and the door's part in it is none of its own
        assert await house.call(first, "unlock", "door-1") is True
        await until(lambda: house.status(first, "locked") is False)


async def test_modes_of_a_simulated_door(connection):
    """Held open, not to be disturbed, locked again; requests are denied meanwhile."""
    async with running_drivers(connection, doors=1) as house:
        (door,) = house.doors()
        await house.call(door, "hold_open")
        await until(lambda: house.status(door, "mode") == "held_open" and house.status(door, "locked") is False)
        await house.call(door, "lock")
        await until(lambda: house.status(door, "mode") == "normal" and house.status(door, "locked") is True)
        await house.call(door, "do_not_disturb")
        await house.call(door, "simulate_request", "holder-1")
        await until(lambda: house.status(door, "last_event")["topic"] == "device.request.denied")
        await house.call(door, "do_not_disturb", False)
        await house.call(door, "simulate_request", "holder-1")
        await until(lambda: "device.request.allowed" in house.topics())
        allowed = next(event for event in house.events if event.topic == "device.request.allowed")
        assert json.loads(allowed.body)["holder"]["name"] == "Hanna Holt"
        assert allowed.cause is None
        relay = [event for event in house.events if event.topic == "device.input.relay.on"][-1]
        assert relay.cause == "request"


async def test_what_can_happen_at_a_simulated_door(connection):
    """Alarms, the exit button, strangers."""
    async with running_drivers(connection, doors=1) as house:
        (door,) = house.doors()
        with pytest.raises(NotAllowed):
            await house.call(door, "simulate_forced", caller=USER)
        await house.call(door, "simulate_forced")
        await until(lambda: house.status(door, "alarms") == ["forced"])
        await house.call(door, "simulate_rex")
        await house.call(door, "simulate_request")
        with pytest.raises(ExecutionFailed, match="no holder nobody") as refused:
            await house.call(door, "simulate_request", "nobody")
        assert refused.value.code == 404
        await until(lambda: "device.request.unknown" in house.topics())
        assert "device.input.rex.on" in house.topics()


async def test_a_simulated_door_is_propped(connection):
    """Open for longer than its prop delay, until somebody closes it."""
    async with running_drivers(connection, doors=1) as house:
        (door,) = house.doors()
        with pytest.raises(NotAllowed):
            await house.call(door, "simulate_propped", caller=USER)
        await house.call(door, "simulate_propped")
        await until(lambda: house.status(door, "alarms") == ["propped"], 30)
        assert house.status(door, "door_position") == "open"
        topics = [topic for topic in house.topics() if topic != "x.command"]
        opened, propped = topics.index("device.input.dps.opened"), topics.index("device.alarm.propped.on")
        assert topics.index("device.request.allowed") < opened < propped


async def test_a_door_that_is_offline_takes_no_command(connection):
    """Until it is back."""
    async with running_drivers(connection, doors=1) as house:
        follow_cloud_nodes(house)
        (door,) = house.doors()
        assert await house.call(door, "simulate_online") is False
        await house.call(door, "simulate_offline", 60)
        await until(lambda: house.status(door, "connected") is False)
        with pytest.raises(ExecutionFailed, match="offline") as refused:
            await house.call(door, "unlock")
        assert refused.value.code == 503
        assert await house.call(door, "simulate_online") is True
        await until(lambda: house.status(door, "connected") is True)
        assert await house.call(door, "unlock") is True


async def test_nothing_pretends_that_a_real_door_moved(connection):
    """A simulated door does not begin on a site that is none."""
    async with running_drivers(connection, sites=REAL) as house:
        module = await house.add_module("simulated_door", "Door", device_id="door-1")
        view = house.drivers.module(module)
        assert not view.running
        assert "not simulated" in view.error


async def test_a_site_that_is_no_longer_simulated_has_no_doors_that_pretend(connection):
    """A stored module went on answering true after the site had become a real one."""
    async with running_drivers(connection) as house:
        module = await house.add_module("simulated_door", "Door", device_id="door-1")
        assert await house.call(module, "unlock") is True
        door = house.drivers._running[module]._instance._object
        site = house.directory.site(SITE).site
        await house.directory.change(site, lambda site: dataclasses.replace(site, simulated=False), SYSTEM)
        for name in (
            "unlock",
            "lock",
            "hold_open",
            "do_not_disturb",
            "simulate_online",
            "simulate_offline",
            "simulate_rex",
        ):
            with pytest.raises(ExecutionFailed, match="not simulated"):  # the object itself, before it is stopped
                await getattr(door, name)()
        await house.drivers.settled()
        assert not house.drivers.module(module).running
        await house.directory.change(
            house.directory.site(SITE).site, lambda site: dataclasses.replace(site, simulated=True), SYSTEM
        )
        await house.drivers.settled()
        assert await house.call(module, "unlock") is True


class Gate(Driver):
    """A door with a driver of its own, which has no list of doors."""

    async def unlock(self, door_id: str) -> bool:
        """Open it."""
        return door_id == "door-3"


class Fence(Driver):
    """A door that cannot be unlocked."""


async def test_one_door_that_is_out_does_not_take_the_others_with_it(connection):
    """Stopped, of another driver, or unable: the site's other doors are listed and opened all the same."""
    async with running_drivers(connection, drivers=[Gate, Fence], doors=4) as house:
        control = next(view.id for view in house.drivers.modules(SITE) if view.name == "AccessControl")
        await house.drivers.change(house.doors()[0], lambda each: dataclasses.replace(each, running=False), SYSTEM)
        await house.add_module("gate", "Gate", device_id="door-3")
        await house.add_module("fence", "Door", device_id="door-4")
        await house.drivers.settled()
        listed = await house.call(control, "door_list")
        assert sorted(door["door_id"] for door in listed) == ["door-1", "door-2", "door-3", "door-4"]
        assert {door["description"] for door in listed} == {"Door 1", "Door 2", "Door 3", "Door 4"}
        assert await house.call(control, "unlock", "door-2") is True
        assert await house.call(control, "unlock", "door-3") is True
        assert await house.call(control, "unlock", "door-4") is None
        assert await house.call(control, "unlock", "door-5") is False
        with pytest.raises(ExecutionFailed, match="does not run"):
            await house.call(control, "unlock", "door-1")


async def test_a_cloud_node_concerns_its_own_site_only(connection):
    """Every such event once made all doors of all sites look; and one that fails keeps no other from it."""
    async with running_drivers(connection, sites={SITE: False, OTHER_SITE: False}) as house:
        seen = []
        doors = house.drivers.doors

        def fails():
            seen.append("fails")
            raise RuntimeError("broken")

        watches = [
            doors.watch(SITE, "door-1", seen.append, fails),
            doors.watch(SITE, "door-2", seen.append, lambda: seen.append("here")),
            doors.watch(OTHER_SITE, "door-1", seen.append, lambda: seen.append("elsewhere")),
        ]
        event = {"topic": "cloudnode.disconnected", "occurred": 1_769_853_600_000, "body": {"serialNumber": "NODE1"}}
        await put(house, event)
        await until(lambda: seen)
        assert seen == ["fails", "here"]
        for watch in watches:
            watch.cancel()


async def test_a_plain_user_may_unlock_only(connection):
    """What lasts until somebody ends it is for those who look after the doors."""
    async with running_drivers(connection, sites={SITE: True, OTHER_SITE: False}, doors=1) as house:
        for door in (*house.doors(), *house.doors(OTHER_SITE)):
            for name in ("hold_open", "do_not_disturb"):
                with pytest.raises(NotAllowed, match="needs the level support"):
                    await house.call(door, name, caller=USER)
            await house.call(door, "unlock", caller=USER)


async def test_where_a_story_is_played_commands_are_part_of_it(connection):
    """One sequence at each door, whoever caused what."""
    building = Building.generate("commands")
    site_id = building.site.id
    async with running_drivers(connection, sites={}) as house:
        await house.directory.put_all(building_entities(building, house.directory.now()))
        await house.drivers.settled()
        story = Story(building, 1, 0, started_ms=int(time.time() * 1000))
        house.drivers.stories[site_id] = story
        door = house.doors(site_id)[building.devices.index(building.devices[0])]
        device = house.drivers.module(door).device_id
        assert await house.call(door, "unlock", caller=USER) is True
        assert "device.input.relay.on" not in house.topics()
        (step,) = story.take(1.0)
        assert step.events[0]["metadata"] == {"cause": "command", "by": "Una"}
        assert step.events[0]["body"]["deviceId"] == device
        await house.call(door, "simulate_forced")
        assert any(event["topic"] == "device.alarm.forced" for step in story.take(60) for event in step.events)
        await house.call(door, "simulate_request", building.holders[5].id)
        (request, *_) = [event for step in story.take(61) for event in step.events]
        assert request["body"]["holderId"] == building.holders[5].id
        with pytest.raises(ExecutionFailed, match="nobody in this building"):
            await house.call(door, "simulate_request", "nobody")
        await house.call(door, "simulate_offline", 60)
        with pytest.raises(ExecutionFailed, match="offline"):
            await house.call(door, "unlock")
        assert await house.call(door, "simulate_online") is True
        assert await house.call(door, "simulate_online") is False


async def test_bookings_as_seed_001_has_them(connection):
    """``exec make_booking [1631058815]`` answers ``{}``; the list is kept."""
    async with running_drivers(connection) as house:
        bookings = next(view.id for view in house.drivers.modules(SITE) if view.name == "Bookings")
        assert house.drivers.status.value(bookings, "bookings") == b"[]"
        assert await house.call(bookings, "make_booking", 1631058815, caller=USER) == {}
        (booking,) = house.status(bookings, "bookings")
        assert (booking["start"], booking["end"], booking["by"]) == (1631058815, 1631062415, "Una")
        with pytest.raises(ExecutionFailed, match="at that time"):
            await house.call(bookings, "make_booking", 1631058816)
        assert await house.call(bookings, "cancel_booking", 1631058815) is True
        assert house.status(bookings, "bookings") == []


async def test_a_busy_door_loses_nothing(connection):
    """Its last event is the last event, however quickly they come."""
    async with running_drivers(connection, sites={OTHER_SITE: False}) as house:
        door = house.doors(OTHER_SITE)[0]
        events = [happened("device.input.relay.on"), happened("device.input.relay.off")] * 400
        await put(house, *events, site_id=OTHER_SITE)
        await until(lambda: len(house.events) == 800)
        await until(lambda: house.status(door, "last_event")["id"] == house.events[-1].id)
        assert house.status(door, "locked") is True
