"""A door of a simulated site: its commands make it do what a real one would, and everything it does is an event.

Where a story plays the building (``doorstream demo``), commands go by way of the story, so that what people do at the
door and what operators do to it stay one coherent sequence. Elsewhere the module plays the door by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any, Final

from doorstream.drivers.builtin.door import Door
from doorstream.drivers.builtin.state import DoorState
from doorstream.drivers.driver import CALLER
from doorstream.drivers.errors import Refused
from doorstream.drivers.functions import audited, security
from doorstream.drivers.simulated import Door as Mechanism
from doorstream.drivers.simulated import Presented, Signal, Story, UnreachableDoorError, scenes
from doorstream.drivers.simulated.door import ORIGIN, Mode
from doorstream.drivers.simulated.scenes import Scene
from doorstream.events.entities import Holder
from doorstream.log import LogError

_OFFLINE: Final = 503
_NOT_FOUND: Final = 404
_TENTHS: Final = 10
_LONGEST_OUTAGE: Final = 3600.0
_RETRY: Final = 1.0


class SimulatedDoor(Door):
    """A simulated door: it does what it is told, and what happens to doors."""

    name = "simulated_door"
    module_name = "Door"
    implements = ("DoorSecurity",)

    _mechanism: Mechanism
    _random: Random

    async def on_load(self) -> None:
        """Learn what the door is; raises Refused where the site is not simulated."""
        found = self._doors.device(self.module.site_id, self._device_id)
        if found is None:
            raise Refused("a simulated door's module has the device_id of a door of its site")
        self._check_simulated()
        await super().on_load()
        self._mechanism = _as_it_was(self._state)
        self._random = Random(self.module.id)  # noqa: S311 - a story, not a secret

    # What operators do.

    @audited
    async def unlock(self, door_id: str | None = None) -> bool | None:
        """Release the door for somebody who walks through. Without an id, or with its own, true; else false."""
        if not self._is_own(door_id):
            return False
        await self._command("unlock")
        return True

    @audited
    async def lock(self) -> None:
        """End whatever keeps the door unlocked."""
        await self._command("lock")

    @audited
    @security("support")
    async def hold_open(self, on: bool = True) -> None:  # noqa: FBT001, FBT002 - as clients call it
        """Hold the door open until told otherwise; with false: no longer."""
        await self._command("hold_open", on=on)

    @audited
    @security("support")
    async def do_not_disturb(self, on: bool = True) -> None:  # noqa: FBT001, FBT002 - as clients call it
        """Lock the door and deny all requests until told otherwise; with false: no longer."""
        await self._command("do_not_disturb", on=on)

    # What people and things do.

    @audited
    @security("support")
    async def simulate_request(self, holder_id: str | None = None) -> None:
        """Have the holder with that id present a credential; a stranger without one."""
        await self._act(
            lambda story: story.stage(self._device_id, "request", holder_id=holder_id),
            lambda: scenes.request(self._mechanism, self._presented(holder_id), self._random),
        )

    @audited
    @security("support")
    async def simulate_rex(self) -> None:
        """Have somebody press the exit button and walk out."""
        await self._act(
            lambda story: story.stage(self._device_id, "rex"), lambda: scenes.leave(self._mechanism, self._random)
        )

    @audited
    @security("support")
    async def simulate_forced(self) -> None:
        """Have somebody open the door without a right, which raises an alarm unless the door is unlocked."""
        await self._act(
            lambda story: story.stage(self._device_id, "force"), lambda: scenes.break_in(self._mechanism, self._random)
        )

    @audited
    @security("support")
    async def simulate_propped(self) -> None:
        """Have somebody walk through and keep the door from closing, until somebody else comes after the alarm."""

        def alone() -> Scene:
            propped = self._device.prop_delay / _TENTHS
            return scenes.prop(self._mechanism, self._somebody(), propped, self._random)

        await self._act(lambda story: story.stage(self._device_id, "prop"), alone)

    @audited
    @security("support")
    async def simulate_offline(self, seconds: float = 30.0) -> None:
        """Have the cloud lose sight of the door's cloud node, and so of all its doors, for that long."""
        if not 0 < seconds <= _LONGEST_OUTAGE:
            raise Refused(f"seconds: more than 0, at most {_LONGEST_OUTAGE:g}", 400)
        self._check_reach()
        if (story := self._story) is not None:
            with _refusals():
                story.cut_off(self._device_id)
        else:
            await self._tell_connection(connected=False)
        self.spawn(self._return(seconds))

    @audited
    @security("support")
    async def simulate_online(self) -> bool:
        """Have a cloud node that was lost by ``simulate_offline`` come back at once; tells whether there was one."""
        self._check_simulated()
        if (story := self._story) is not None:
            return story.reconnect(self._device_id)
        if self._doors.is_offline(self.module.site_id, self._device_id):
            await self._tell_connection(connected=True)
            return True
        return False

    @property
    def _story(self) -> Story | None:
        story: Story | None = self.premises.stories.get(self.module.site_id)
        return story if story is not None and story.has_door(self._device_id) else None

    async def _command(self, name: str, *, on: bool = True) -> None:
        by = self.caller.name if self.caller is not None else None

        def alone() -> Scene:
            if name == "unlock":
                return scenes.commanded(self._mechanism, by, self._device.dwell / _TENTHS)
            if name == "lock":
                return scenes.single(lambda: self._mechanism.lock(by))
            if name == "hold_open":
                return scenes.single(lambda: self._mechanism.hold_open(on=on, by=by))
            return scenes.single(lambda: self._mechanism.do_not_disturb(on=on, by=by))

        await self._act(lambda story: story.command(self._device_id, name, on=on, by=by), alone)

    async def _act(self, told: Callable[[Story], object], alone: Callable[[], Scene]) -> None:
        """Have something happen: by way of the story where one is played, else as a scene; raises Refused."""
        self._check_reach()
        if (story := self._story) is not None:
            with _refusals():
                told(story)
        else:
            await self._play(alone())

    @property
    def _device(self) -> Any:
        return self._doors.device(self.module.site_id, self._device_id)[1]

    def _check_simulated(self) -> None:
        """Raises Refused once the site is no simulated one any more: then there is a real door, and it did not move."""
        found = self._doors.device(self.module.site_id, self._device_id)
        if found is None or not found[0].site.simulated:
            raise Refused("this site is not simulated, and nothing here pretends that a real door moved")

    def _check_reach(self) -> None:
        self._check_simulated()
        if self._doors.is_offline(self.module.site_id, self._device_id):
            raise Refused("the door's cloud node is offline", _OFFLINE)

    async def _play(self, scene: Scene) -> None:
        """Play the first beat of a scene now, and the others as their time comes."""
        signals, pause = next(scene)
        try:
            await self._report(signals)
        except LogError:
            self._mechanism = _as_it_was(self._state)  # what nobody was told has not happened
            raise
        self.spawn(self._play_on(scene, pause))

    async def _play_on(self, scene: Scene, pause: float) -> None:
        CALLER.set(None)  # what people do because of a command is theirs
        await self.sleep(pause)
        for signals, following in scene:
            await self._report_at_last(signals)
            await self.sleep(following)

    async def _report_at_last(self, signals: tuple[Signal, ...]) -> None:
        """What has begun takes its course: its events are kept as soon as the log is there."""
        while True:
            try:
                await self._report(signals)
            except LogError:
                await self.sleep(_RETRY)
            else:
                return

    async def _report(self, signals: tuple[Signal, ...]) -> None:
        """Put signals in as events. What is due to a command says whose; the rest happened."""
        if not signals:
            return
        caller = CALLER.get()
        occurred = int(self.now() * 1000)
        events = []
        for signal in signals:
            origin: dict[str, Any] = {key: signal.body[key] for key in ORIGIN if key in signal.body}
            if caller is not None and "by" in origin:
                origin = {"cause": "command", **origin, **caller.metadata()}
            body = {key: value for key, value in signal.body.items() if key not in ORIGIN}
            events.append({"topic": signal.topic, "body": body, "occurred": occurred, "metadata": origin})
        token = CALLER.set(None)
        try:
            await self.emit_all(events)
        finally:
            CALLER.reset(token)

    async def _tell_connection(self, *, connected: bool) -> None:
        serial = self._doors.serial_number(self.module.site_id, self._device_id)
        if serial is None:
            raise Refused("the door has no cloud node with a serial number that could be lost")
        topic = "cloudnode.connected" if connected else "cloudnode.disconnected"
        await self.emit(topic, {"serialNumber": serial})

    async def _return(self, seconds: float) -> None:
        CALLER.set(None)
        await self.sleep(seconds)
        await self.simulate_online()

    def _presented(self, holder_id: str | None) -> Presented:
        if holder_id is None:
            return Presented("CARD_ONLY", "999", str(self._random.randrange(1, 65_536)))
        view, _ = self._doors.device(self.module.site_id, self._device_id)
        holder = view.holders.get(holder_id)
        if holder is None:
            raise Refused(f"the site has no holder {holder_id}", _NOT_FOUND)
        return _card_of(holder)

    def _somebody(self) -> Presented:
        view, _ = self._doors.device(self.module.site_id, self._device_id)
        enabled = [holder for holder in view.holders if holder.enabled]
        if not enabled:
            raise Refused("the site has no holder who could open the door")
        return _card_of(self._random.choice(enabled))

    def _show(self) -> None:
        """A simulated door that nothing happened to yet is locked and closed."""
        if self._state.locked is None:
            self._state.locked = True
        if self._state.is_open is None:
            self._state.is_open = False
        super()._show()

    def _is_connected(self) -> bool:
        return not self._doors.is_offline(self.module.site_id, self._device_id)


@contextmanager
def _refusals() -> Iterator[None]:
    """What a story does not do is a refusal."""
    try:
        yield
    except UnreachableDoorError as error:
        raise Refused(str(error), _OFFLINE) from None
    except LookupError as error:
        raise Refused(str(error), _NOT_FOUND) from None


def _card_of(holder: Holder) -> Presented:
    """A holder's first credential. Nobody's rights are kept here: who is enabled may pass."""
    card = holder.credentials[0] if holder.credentials else None
    return Presented(
        factor="CARD_ONLY",
        facility_code=None if card is None or card.facility_code is None else str(card.facility_code),
        card_number=None if card is None or card.credential_number is None else str(card.credential_number),
        holder={
            "id": holder.id,
            "name": holder.name,
            "enabled": holder.enabled,
            "activeDate": holder.active_date,
            "expireDate": holder.expire_date,
        },
        credential_id=None if card is None else card.id,
        permitted=holder.enabled,
    )


def _as_it_was(state: DoorState) -> Mechanism:
    """The door as its events left it; a release that was under way is over."""
    mechanism = Mechanism()
    mechanism.mode = state.mode if state.mode is not Mode.AUTO_OPEN else Mode.NORMAL  # nobody plays its schedule here
    mechanism.is_open = bool(state.is_open)
    mechanism.relay_on = mechanism.mode is Mode.HELD_OPEN
    mechanism.alarm = state.alarm
    return mechanism
