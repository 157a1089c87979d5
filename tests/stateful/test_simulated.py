"""A simulated door under arbitrary stimuli, and whole stories, against the same rules of what a door can report."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from doorstream.drivers.simulated import Building, Door, Presented, Signal, Story
from doorstream.drivers.simulated.door import Mode

HOLDER = {"id": "h", "name": "Ada Berg", "enabled": True, "activeDate": None, "expireDate": None}
PAIRS = {
    "device.input.relay": ("on", "off"),
    "device.input.dps": ("opened", "closed"),
    "device.input.rex": ("on", "off"),
    "device.alarm.propped": ("on", "off"),
    "device.autoopen": ("on", "off"),
    "device.forceopen": ("on", "off"),
    "device.forceclose": ("on", "off"),
}


class Rules:
    """What may follow what at one door, told only from its events, in their order."""

    def __init__(self) -> None:
        self.on = dict.fromkeys(PAIRS, False)
        self.forced = False
        self.released_at_opening = False
        self.previous = ""

    def check(self, topic: str, body: dict) -> None:
        """Fail if an event of this topic cannot come now."""
        if topic == "device.alarm.forced":
            assert self.previous == "device.input.dps.opened"
            assert not self.released_at_opening
            self.forced = True
        elif topic == "device.alarm.forced.cleared":
            assert self.forced
            assert self.previous == "device.input.dps.closed"
            self.forced = False
        elif topic == "device.request.allowed":
            assert not self.on["device.forceclose"], "do-not-disturb denies"
        elif topic.startswith("device.request."):
            pass
        else:
            self._switch(topic, body)
        self.previous = topic

    def _switch(self, topic: str, body: dict) -> None:
        family, _, state = topic.rpartition(".")
        is_on = state == PAIRS[family][0]
        assert is_on or state == PAIRS[family][1]
        assert self.on[family] is not is_on, f"{topic} twice"
        self.on[family] = is_on
        if topic == "device.input.dps.opened":
            self.released_at_opening = self.on["device.input.relay"]
        elif topic == "device.input.relay.on":
            self._check_cause(body["cause"])
        elif topic == "device.alarm.propped.on":
            assert self.on["device.input.dps"]
            assert not self.forced
        elif topic == "device.alarm.propped.off":
            assert self.previous == "device.input.dps.closed"

    def _check_cause(self, cause: str) -> None:
        if cause == "request":
            assert self.previous == "device.request.allowed"
        elif cause == "rex":
            assert self.previous == "device.input.rex.on"
        elif cause == "schedule":
            assert self.previous == "device.autoopen.on"
        else:
            assert cause == "command"


class DoorMachine(RuleBasedStateMachine):
    """A door gets any stimulus at any time."""

    @initialize()
    def build(self):
        """Begin with a new door."""
        self.door = Door()
        self.rules = Rules()
        self.releases = [0]

    def report(self, signals: tuple[Signal, ...]) -> list[str]:
        """Check what the door reports, and return its topics."""
        for signal in signals:
            self.rules.check(signal.topic, signal.body)
        self.releases.append(self.door.release_number)
        return [signal.topic for signal in signals]

    @rule(permitted=st.booleans(), factor=st.sampled_from(["CARD_ONLY", "PIN_ONLY", "CARD_AND_PIN"]))
    def known(self, permitted, factor):
        """A request of a known holder is answered, and allowed exactly if there is a right and nobody minds."""
        mode = self.door.mode
        topics = self.report(self.door.present(Presented(factor, "77", "26858", HOLDER, "c", permitted=permitted)))
        allowed = permitted and mode is not Mode.DO_NOT_DISTURB
        assert topics[0] == f"device.request.{'allowed' if allowed else 'denied'}"
        assert self.door.relay_on or not allowed

    @rule()
    def unknown(self):
        """An unknown card moves nothing."""
        assert self.report(self.door.present(Presented("CARD_ONLY", "1", "2"))) == ["device.request.unknown"]

    @rule()
    def rex(self):
        """The exit button always lets people out."""
        was_pressed = self.door.rex_pressed
        self.report(self.door.press_rex())
        assert self.door.relay_on or was_pressed

    @rule()
    def rex_let_go(self):
        """The exit button is let go."""
        self.report(self.door.leave_rex())

    @rule()
    def push(self):
        """Pushing alone never raises an alarm."""
        assert self.report(self.door.push()) in ([], ["device.input.dps.opened"])

    @rule()
    def force(self):
        """A closed, locked door that opens all the same is forced; no other is."""
        forced = not self.door.is_open and not self.door.relay_on
        assert ("device.alarm.forced" in self.report(self.door.force())) is forced

    @rule()
    def close(self):
        """The leaf falls shut."""
        self.report(self.door.close())
        assert not self.door.is_open

    @rule(data=st.data())
    def relock(self, data):
        """The timer of any release, old or new, may run out."""
        number = data.draw(st.sampled_from(sorted(set(self.releases))))
        topics = self.report(self.door.relock(number))
        assert not topics or number == self.door.release_number

    @rule()
    def held_too_long(self):
        """The prop timer may run out at any time."""
        self.report(self.door.held_too_long())

    @rule(on=st.booleans())
    def schedule(self, on):
        """The schedule may say the same thing twice."""
        self.report(self.door.schedule(on=on))

    @precondition(lambda self: self.door.mode in (Mode.NORMAL, Mode.DO_NOT_DISTURB))
    @rule()
    def unlock(self):
        """A command to unlock a door that does not stand open always shows."""
        signals = self.door.unlock("Reception")
        self.report(signals)
        assert signals[-1] == Signal("device.input.relay.on", {"cause": "command", "by": "Reception"})

    @rule()
    def lock(self):
        """A command to lock always locks."""
        self.report(self.door.lock())
        assert not self.door.relay_on

    @rule(on=st.booleans())
    def hold_open(self, on):
        """A command to hold the door open always unlocks."""
        self.report(self.door.hold_open(on=on))
        assert self.door.relay_on or not on

    @rule(on=st.booleans())
    def do_not_disturb(self, on):
        """A command not to disturb always locks."""
        self.report(self.door.do_not_disturb(on=on))
        assert not on or not self.door.relay_on

    @invariant()
    def state_is_what_was_reported(self):
        """Who only reads the events knows the door's state."""
        on = self.rules.on
        assert on["device.input.relay"] is self.door.relay_on
        assert on["device.input.dps"] is self.door.is_open
        assert on["device.input.rex"] is self.door.rex_pressed
        assert on["device.autoopen"] is (self.door.mode is Mode.AUTO_OPEN)
        assert on["device.forceopen"] is (self.door.mode is Mode.HELD_OPEN)
        assert on["device.forceclose"] is (self.door.mode is Mode.DO_NOT_DISTURB)

    @invariant()
    def standing_open_means_unlocked(self):
        """An open mode keeps the relay on, whatever else is tried."""
        assert self.door.relay_on or self.door.mode not in (Mode.AUTO_OPEN, Mode.HELD_OPEN)


TestDoor = DoorMachine.TestCase
TestDoor.settings = settings(max_examples=150, stateful_step_count=40)


def check_story(story: Story, events: int, orders: dict[int, tuple[str, str]] | None = None) -> None:
    """Run a story for so many events, with orders (door id, command) before some, against the rules of each door."""
    rules: dict[str, Rules] = {}
    times: dict[str, int] = {}
    seen = 0
    for step in story:
        for event in step.events:
            seen += 1
            if not event["topic"].startswith("device."):
                continue
            door = event["body"]["deviceId"]
            rules.setdefault(door, Rules()).check(event["topic"], event["body"] | event.get("metadata", {}))
            assert times.get(door, 0) <= event["occurred"]
            times[door] = event["occurred"]
        if orders and seen in orders:
            door, name = orders[seen]
            story.command(door, name)
        if seen >= events:
            return


@pytest.mark.parametrize(("rate", "events"), [(0.2, 4000), (2, 8000), (40, 20_000), (2000, 20_000)])
def test_each_door_of_a_story_keeps_a_legal_order(rate, events):
    """Late events included: the order of the log is legal, and a door's `occurred` never goes back."""
    check_story(Story(Building.generate(11), 11, rate, started_ms=0), events)


@settings(max_examples=25)
@given(
    seed=st.integers(0, 10**6),
    rate=st.sampled_from([0.5, 2, 30, 500]),
    orders=st.dictionaries(
        st.integers(1, 600),
        st.tuples(st.integers(0, 5), st.sampled_from(["unlock", "lock", "hold_open", "do_not_disturb"])),
        max_size=40,
    ),
)
def test_commands_at_any_time_keep_each_door_legal(seed, rate, orders):
    """Commands fall into the middle of scenes at the doors of the wing that stays online at first."""
    building = Building.generate(seed)
    by_door = {when: (building.devices[door].id, name) for when, (door, name) in orders.items()}
    check_story(Story(building, seed, rate, started_ms=0), 600 if rate > 1 else 100, by_door)
