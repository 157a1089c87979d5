"""One door as a state machine: stimuli in, signals out.

A door is a lock (the relay), a leaf with a position sensor (DPS), a reader and an exit button (REX). What happens to
it are the public methods of `Door`: somebody presents a credential, pushes the leaf, presses the button; a timer runs
out; the schedule or an operator speaks. Each method returns the signals that a controller would report for it, in
order, and none at all if the stimulus changes nothing: every stimulus is lawful in every state.

The state is small:

* the **mode** is one of four; beginning and ending one is reported by its pair of topics in `MODE_TOPICS`:

  ============== ================ ============================================================
  mode           comes from       meaning
  ============== ================ ============================================================
  NORMAL                          locked; requests and the exit button release it
  AUTO_OPEN      the schedule     unlocked for as long as it lasts
  HELD_OPEN      `hold_open`      the same by command; while it lasts the schedule waits
  DO_NOT_DISTURB `do_not_disturb` locked, and requests are denied; while it lasts the schedule waits
  ============== ================ ============================================================

* a **release** is the short unlocking after a request, a REX or a command. It is numbered, so that the timer of an
  older release cannot end a newer one. Orders about the mode are numbered for the same reason.
* the **relay** is on while there is a release or the mode is an open one, and otherwise off.
* the **alarm** belongs to one opening of the leaf: forced if it opened while the relay was off, propped if it stayed
  open too long. Closing ends either.

There are no clocks here. Who drives a door (the story, or one day a module's timers) calls `relock` when the release
is over and `held_too_long` when the leaf has been open for longer than it may.

The topics and the keys of the bodies are those of seed 000. `cause` and `by` (`ORIGIN`) are doorstream's own: they go
into an event's metadata, because clients of the vendor do not expect them in its body.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, NamedTuple, TypeAlias

ORIGIN: Final = ("cause", "by")
"""What a signal may say of where it came from: `request`, `rex`, `schedule` or `command`, and whose command it was."""


class Signal(NamedTuple):
    """One report of a controller: its topic, and what is to be said beside the device. Not to be changed by anyone."""

    topic: str
    body: dict[str, Any]


Signals: TypeAlias = tuple[Signal, ...]


class Mode(Enum):
    """What a door does when nobody is at it."""

    NORMAL = "normal"
    AUTO_OPEN = "auto-open"
    HELD_OPEN = "held open"
    DO_NOT_DISTURB = "do not disturb"


class Alarm(Enum):
    """What is wrong with the present opening of the leaf."""

    NONE = "none"
    FORCED = "forced"
    PROPPED = "propped"


MODE_TOPICS: Final = {
    Mode.AUTO_OPEN: ("device.autoopen.on", "device.autoopen.off"),
    Mode.HELD_OPEN: ("device.forceopen.on", "device.forceopen.off"),
    Mode.DO_NOT_DISTURB: ("device.forceclose.on", "device.forceclose.off"),
}
ALARM_TOPICS: Final = {
    Alarm.FORCED: ("device.alarm.forced", "device.alarm.forced.cleared"),
    Alarm.PROPPED: ("device.alarm.propped.on", "device.alarm.propped.off"),
}
# The cause told in the body of the `relay.on` with which an open mode begins.
OPEN_MODES: Final = {Mode.AUTO_OPEN: "schedule", Mode.HELD_OPEN: "command"}

OPENED: Final = Signal("device.input.dps.opened", {})
CLOSED: Final = Signal("device.input.dps.closed", {})
RELAY_OFF: Final = Signal("device.input.relay.off", {})
REX_ON: Final = Signal("device.input.rex.on", {})
REX_OFF: Final = Signal("device.input.rex.off", {})


@dataclass(frozen=True, slots=True)
class Presented:
    """A credential at a reader, and what the system knows about it.

    `factor` is `CARD_ONLY`, `PIN_ONLY` or `CARD_AND_PIN` (vendor-apis.md 1.6); the two numbers are None where only a
    PIN was given. `holder` is None if nobody is known by it; else it is the holder as the samples of seed 000 show it,
    and `permitted` says whether the holder has the right to this door at this time and gave the right PIN.
    """

    factor: str
    facility_code: str | None
    card_number: str | None
    holder: dict[str, Any] | None = None
    credential_id: str | None = None
    permitted: bool = False

    def body(self) -> dict[str, Any]:
        """Return what a request event's body holds beside the device; the holder's part only if one is known."""
        numbers = {"facilityCode": self.facility_code, "cardNumber": self.card_number}
        if self.holder is None:
            return numbers
        return {
            "holderId": self.holder["id"],
            "credentialId": self.credential_id,
            "requestFactor": self.factor,
            **numbers,
            "holder": self.holder,
        }


class Door:
    """The state of one door. Starts closed, locked and in the normal mode."""

    __slots__ = (
        "_release",
        "_scheduled",
        "alarm",
        "is_open",
        "mode",
        "order_number",
        "relay_on",
        "release_number",
        "rex_pressed",
    )

    def __init__(self) -> None:
        self.mode = Mode.NORMAL
        self.alarm = Alarm.NONE
        self.is_open = False
        self.relay_on = False
        self.rex_pressed = False
        self.release_number = 0
        """The number of the latest release, for `relock`."""
        self.order_number = 0
        """The number of the latest order about the door's mode, so that who gave an older one can leave it alone."""
        self._release = False
        self._scheduled = False

    # What people do.

    def present(self, presented: Presented) -> Signals:
        """Somebody presents a credential: allowed (and released), denied, or unknown."""
        body = presented.body()
        if presented.holder is None:
            return (Signal("device.request.unknown", body),)
        if not presented.permitted or self.mode is Mode.DO_NOT_DISTURB:
            return (Signal("device.request.denied", body),)
        return (Signal("device.request.allowed", body), *self._begin_release("request"))

    def press_rex(self) -> Signals:
        """Somebody presses the exit button, which releases the door in every mode: nobody is ever locked in."""
        if self.rex_pressed:
            return ()
        self.rex_pressed = True
        return (REX_ON, *self._begin_release("rex"))

    def leave_rex(self) -> Signals:
        """The exit button is let go."""
        if not self.rex_pressed:
            return ()
        self.rex_pressed = False
        return (REX_OFF,)

    def push(self) -> Signals:
        """Somebody pushes the leaf: it opens if the lock lets it."""
        if self.is_open or not self.relay_on:
            return ()
        self.is_open = True
        return (OPENED,)

    def force(self) -> Signals:
        """Somebody opens the leaf whether the lock lets it or not."""
        if self.is_open:
            return ()
        self.is_open = True
        return (OPENED,) if self.relay_on else (OPENED, *self._raise_alarm(Alarm.FORCED))

    def close(self) -> Signals:
        """The leaf falls shut, which ends its alarm."""
        if not self.is_open:
            return ()
        self.is_open = False
        ended = self.alarm
        self.alarm = Alarm.NONE
        return (CLOSED,) if ended is Alarm.NONE else (CLOSED, Signal(ALARM_TOPICS[ended][1], {}))

    # What timers and the schedule do.

    def relock(self, release_number: int) -> Signals:
        """Release `release_number` is over. Does nothing if that is not the release that keeps the door unlocked."""
        if not self._release or release_number != self.release_number:
            return ()
        return self._end_release()

    def held_too_long(self) -> Signals:
        """The leaf has been open for the door's prop delay. An alarm, unless the door is meant to stand open."""
        if not self.is_open or self.alarm is not Alarm.NONE or self.mode in OPEN_MODES:
            return ()
        return self._raise_alarm(Alarm.PROPPED)

    def schedule(self, *, on: bool) -> Signals:
        """The schedule opens the door, or stops doing so. A mode that somebody commanded comes first."""
        self._scheduled = on
        if self.mode in (Mode.HELD_OPEN, Mode.DO_NOT_DISTURB):
            return ()
        return self._change_mode(self._resting_mode(), None)

    # What operators do. `by` says who, and is passed on in the bodies if given.

    def unlock(self, by: str | None = None) -> Signals:
        """Release the door by command, in every mode.

        A release that is under way ends first, so that each command shows as a `relay.on` of its own. A door that
        stands open by its mode has nothing to unlock.
        """
        if self.mode in OPEN_MODES:
            return ()
        return (*self._end_release(), *self._begin_release("command", by))

    def lock(self, by: str | None = None) -> Signals:
        """End whatever keeps the door unlocked: a release, a hold, and the schedule until it opens the door anew."""
        self.order_number += 1
        ended = self._end_release()
        self._scheduled = False
        return (*ended, *self._change_mode(Mode.NORMAL, by)) if self.mode in OPEN_MODES else ended

    def hold_open(self, *, on: bool, by: str | None = None) -> Signals:
        """Hold the door open until told otherwise; or stop doing so."""
        return self._command_mode(Mode.HELD_OPEN, by, on=on)

    def do_not_disturb(self, *, on: bool, by: str | None = None) -> Signals:
        """Lock the door and deny all requests until told otherwise; or stop doing so. Repeated, it locks again."""
        changed = self._command_mode(Mode.DO_NOT_DISTURB, by, on=on)
        return (*changed, *self._end_release()) if on else changed

    def _command_mode(self, mode: Mode, by: str | None, *, on: bool) -> Signals:
        self.order_number += 1
        if on:
            return self._change_mode(mode, by)
        return self._change_mode(self._resting_mode(), by) if self.mode is mode else ()

    def _resting_mode(self) -> Mode:
        return Mode.AUTO_OPEN if self._scheduled else Mode.NORMAL

    def _change_mode(self, mode: Mode, by: str | None) -> Signals:
        """End the present mode, begin `mode`, and let the relay follow."""
        if mode is self.mode:
            return ()
        body = _named(by)
        signals = []
        if self.mode in MODE_TOPICS:
            signals.append(Signal(MODE_TOPICS[self.mode][1], body))
        if mode in MODE_TOPICS:
            signals.append(Signal(MODE_TOPICS[mode][0], body))
        self.mode = mode
        if mode is not Mode.NORMAL:
            # An open mode takes a release's relay over; do-not-disturb ends it.
            self._release = False
        if mode in OPEN_MODES:
            signals += self._switch_relay_on(OPEN_MODES[mode], by)
        elif not self._release:
            signals += self._switch_relay_off()
        return tuple(signals)

    def _begin_release(self, cause: str, by: str | None = None) -> Signals:
        if self.mode in OPEN_MODES:
            return ()
        self._release = True
        self.release_number += 1
        return self._switch_relay_on(cause, by)

    def _end_release(self) -> Signals:
        if not self._release:
            return ()
        self._release = False
        return self._switch_relay_off()

    def _switch_relay_on(self, cause: str, by: str | None) -> Signals:
        if self.relay_on:
            return ()
        self.relay_on = True
        return (Signal("device.input.relay.on", {"cause": cause, **_named(by)}),)

    def _switch_relay_off(self) -> Signals:
        if not self.relay_on:
            return ()
        self.relay_on = False
        return (RELAY_OFF,)

    def _raise_alarm(self, alarm: Alarm) -> Signals:
        self.alarm = alarm
        return (Signal(ALARM_TOPICS[alarm][0], {}),)


def _named(by: str | None) -> dict[str, Any]:
    return {} if by is None else {"by": by}
