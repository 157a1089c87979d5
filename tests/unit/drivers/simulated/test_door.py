"""The door's sequences as the issue and seed 000 tell them; everything else about it is in tests/stateful."""

import pytest

from doorstream.drivers.simulated import Door, Presented, Signal
from doorstream.drivers.simulated.door import Mode

HOLDER = {"id": "h", "name": "Ada Berg", "enabled": True, "activeDate": None, "expireDate": None}
CARD = Presented("CARD_ONLY", "77", "26858", HOLDER, "c", permitted=True)


def topics(*reports):
    """Return the topics of several reports in order, without what they have in common."""
    return [signal.topic.removeprefix("device.") for report in reports for signal in report]


def test_a_passage():
    """Request, release, opened, closed, locked."""
    door = Door()
    assert topics(door.present(CARD), door.push(), door.close(), door.relock(door.release_number)) == [
        "request.allowed",
        "input.relay.on",
        "input.dps.opened",
        "input.dps.closed",
        "input.relay.off",
    ]


def test_an_exit():
    """The button releases the door and is let go last."""
    door = Door()
    reports = door.press_rex(), door.push(), door.close(), door.relock(door.release_number), door.leave_rex()
    assert topics(*reports) == [
        "input.rex.on",
        "input.relay.on",
        "input.dps.opened",
        "input.dps.closed",
        "input.relay.off",
        "input.rex.off",
    ]


def test_held_open_too_long():
    """The prop alarm begins with the timer and ends with the leaf."""
    door = Door()
    door.present(CARD)
    door.push()
    assert topics(door.relock(1), door.held_too_long(), door.held_too_long(), door.close()) == [
        "input.relay.off",
        "alarm.propped.on",
        "input.dps.closed",
        "alarm.propped.off",
    ]


def test_opened_without_release():
    """The forced alarm begins with the opening, is no prop alarm too, and ends with the leaf."""
    door = Door()
    assert topics(door.push(), door.force(), door.held_too_long(), door.close(), door.held_too_long()) == [
        "input.dps.opened",
        "alarm.forced",
        "input.dps.closed",
        "alarm.forced.cleared",
    ]


def test_the_schedule():
    """The relay stays on from the schedule's beginning to its end; nobody's release ends it, and nothing props."""
    door = Door()
    reports = (
        door.schedule(on=True),
        door.present(CARD),
        door.relock(door.release_number),
        door.push(),
        door.held_too_long(),
        door.close(),
        door.schedule(on=False),
    )
    assert topics(*reports) == [
        "autoopen.on",
        "input.relay.on",
        "request.allowed",
        "input.dps.opened",
        "input.dps.closed",
        "autoopen.off",
        "input.relay.off",
    ]


def test_do_not_disturb_denies_and_lets_out():
    """Who is known is denied, who is not stays unknown, who is inside can leave."""
    door = Door()
    reports = (
        door.do_not_disturb(on=True),
        door.present(CARD),
        door.present(Presented("CARD_ONLY", "1", "2")),
        door.press_rex(),
        door.do_not_disturb(on=False),
        door.present(CARD),
    )
    assert topics(*reports) == [
        "forceclose.on",
        "request.denied",
        "request.unknown",
        "input.rex.on",
        "input.relay.on",
        "forceclose.off",
        "request.allowed",
    ]


def test_the_schedule_waits_for_a_commanded_mode():
    """A schedule that began during a hold shows when the hold ends, and the relay stays on throughout."""
    door = Door()
    reports = door.hold_open(on=True), door.schedule(on=True), door.hold_open(on=False), door.lock()
    assert topics(*reports) == [
        "forceopen.on",
        "input.relay.on",
        "forceopen.off",
        "autoopen.on",
        "autoopen.off",
        "input.relay.off",
    ]
    assert door.mode is Mode.NORMAL


@pytest.mark.parametrize(
    ("stimulus", "cause"),
    [
        (lambda door: door.present(CARD), "request"),
        (lambda door: door.press_rex(), "rex"),
        (lambda door: door.schedule(on=True), "schedule"),
        (lambda door: door.unlock(), "command"),
        (lambda door: door.hold_open(on=True), "command"),
    ],
)
def test_relay_on_tells_its_cause(stimulus, cause):
    """What a command unlocked must be recognisable (design.md D17)."""
    assert stimulus(Door())[-1] == Signal("device.input.relay.on", {"cause": cause})


def test_each_command_to_unlock_shows():
    """It ends the release under way first; the older releases' timers then find nothing to end."""
    door = Door()
    door.present(CARD)
    first = door.release_number
    assert topics(door.unlock("Reception"), door.relock(first), door.unlock()) == [
        "input.relay.off",
        "input.relay.on",
        "input.relay.off",
        "input.relay.on",
    ]
    assert topics(door.relock(door.release_number)) == ["input.relay.off"]


def test_commands_tell_who_gave_them():
    """`by` is in every event of the command that does not say otherwise."""
    door = Door()
    assert door.hold_open(on=True, by="Ada") == (
        Signal("device.forceopen.on", {"by": "Ada"}),
        Signal("device.input.relay.on", {"cause": "command", "by": "Ada"}),
    )
    assert door.lock(by="Bas")[0] == Signal("device.forceopen.off", {"by": "Bas"})


def test_a_request_by_pin_has_no_numbers():
    """Keys of the samples that have no value are null, never absent (design.md, "The event as put in")."""
    (denied,) = Door().present(Presented("PIN_ONLY", None, None, HOLDER))
    assert denied.body == {
        "holderId": "h",
        "credentialId": None,
        "requestFactor": "PIN_ONLY",
        "facilityCode": None,
        "cardNumber": None,
        "holder": HOLDER,
    }
