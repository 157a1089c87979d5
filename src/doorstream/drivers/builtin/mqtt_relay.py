"""A real door: a relay that speaks MQTT moves it, and its contact tells whether it is open.

What the device says is what counts. A command is answered once the device has confirmed it, and its switching is an
event then, not when it was asked for; what it does by itself, or by somebody else's command, is an event as well.

No door stays unlocked because something went wrong in between: when it is to be locked is in the status before the
relay is switched, and from then on it is tried until the relay has confirmed it, after a restart too.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import Context, copy_context
from typing import Annotated, Any, Final, NamedTuple

import aiomqtt
import msgspec

from doorstream.directory import uuid7
from doorstream.drivers.builtin.door import Door
from doorstream.drivers.builtin.relays import RELAYS, Kind, Message, Relay, Said
from doorstream.drivers.driver import CALLER, Handle
from doorstream.drivers.errors import Refused
from doorstream.drivers.functions import audited, security
from doorstream.drivers.simulated.door import Mode
from doorstream.log import LogUnavailable, StorageFull

_CONFIRMED_WITHIN: Final = 5.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
_LOG_PAUSE: Final = 1.0
_LOCK_PAUSE: Final = 1.0
_OWN_TIMER: Final = 1.0
"""So many seconds after a relay should have switched back by itself it is told to."""
_LOCK_DUE, _HELD = "lock_due", "held"
_KEEPALIVE: Final = 15
_LONGEST_UNLOCK: Final = 3600.0
_GATEWAY_TIMEOUT, _UNAVAILABLE = 504, 503
_TENTHS: Final = 10

Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
Device = Annotated[str, msgspec.Meta(min_length=1, max_length=128, pattern=r"^[^+#\x00]+$")]


class _Command(NamedTuple):
    """What the relay was told and has not confirmed yet.

    The confirmation is told in the ``context`` of whoever gave the command; ``confirmed`` gets what to wait for until
    that is kept, or None where the relay stood like that before.
    """

    on: bool
    confirmed: asyncio.Future[asyncio.Future[None] | None]
    context: Context


class MqttRelay(Door):
    """A door that is moved by a relay with MQTT: Tasmota, or Shelly of any generation."""

    name = "mqtt_relay"
    module_name = "Door"
    implements = ("DoorSecurity",)

    class Settings(msgspec.Struct):
        """Where the broker is, and which relay it is about.

        ``device`` is the device's MQTT name (Tasmota's topic, Shelly's id). ``relay`` and ``contact`` are counted as
        the device does, Tasmota from 1 and Shelly from 0; ``contact`` is the input that is on while the door is open;
        ``contact_inverted``: it is on while the door is closed. ``dwell`` is in seconds; without it the door's own is
        used.
        """

        host: str
        device: Device
        kind: Kind = "tasmota"
        port: Port = 1883
        username: str | None = None
        password: str | None = None
        tls: bool = False
        relay: int | None = None
        contact: int | None = None
        contact_inverted: bool = False
        dwell: Annotated[float, msgspec.Meta(gt=0, le=_LONGEST_UNLOCK)] | None = None

    _relay: Relay
    _client: aiomqtt.Client | None = None
    _online: bool = False
    _command: _Command | None = None
    _turn: asyncio.Lock
    """Held by whoever has the relay switched, from the look at how things stand to the relay's confirmation."""
    _telling: asyncio.Lock
    """Held by what is told next: the log has it in the order in which it happened."""
    _locking: Handle | None = None

    async def on_load(self) -> None:
        """Learn what the door is, and stay connected to the broker."""
        await super().on_load()
        settings = self.settings
        number = settings.relay if settings.relay is not None else int(settings.kind == "tasmota")
        self._relay = RELAYS[settings.kind](settings.device, number, settings.contact)
        self._turn, self._telling = asyncio.Lock(), asyncio.Lock()
        self.status.setdefault(_HELD, self._state.mode is Mode.HELD_OPEN)
        self.spawn(self._stay_connected())
        self._lock_in_time()

    async def on_unload(self) -> None:
        """Whoever waits for a confirmation is told."""
        self._give_up("the module was stopped")
        await super().on_unload()

    @audited
    async def unlock(self, door_id: str | None = None) -> bool | None:
        """Release the door for its dwell time. Without an id, or with its own, true once the relay has confirmed it."""
        if not self._is_own(door_id):
            return False
        async with self._turn:
            if self.status[_HELD]:
                return True
            self._reached()
            now = self.now()
            due = max(now + self._dwell, self.status.get(_LOCK_DUE, 0.0))
            self.status[_LOCK_DUE] = due
            self._lock_in_time()
            await self._switch(on=True, seconds=due - now)
        return True

    @audited
    async def lock(self) -> None:
        """Lock the door now, and end whatever keeps it unlocked."""
        async with self._turn:
            await self._lock()

    @audited
    @security("support")
    async def hold_open(self, on: bool = True) -> None:  # noqa: FBT001, FBT002 - as clients call it
        """Hold the door open until told otherwise; with false: no longer."""
        async with self._turn:
            if not on:
                await self._lock()
                return
            await self._switch(on=True)
            if not self.status.get("relay"):  # by a button, while the log kept that it was on
                raise Refused("the relay was switched off again")
            self.status.pop(_LOCK_DUE, None)
            if not self.status[_HELD]:
                self.status[_HELD] = True
                await self._tell("device.forceopen.on")

    @property
    def _dwell(self) -> float:
        if self.settings.dwell is not None:
            return float(self.settings.dwell)
        found = self._doors.device(self.module.site_id, self._device_id)
        return found[1].dwell / _TENTHS if found is not None else 5.0

    def _reached(self) -> aiomqtt.Client:
        """The client that reaches the relay; raises Refused where nothing does."""
        if self._client is None:
            raise Refused("the MQTT broker cannot be reached", _UNAVAILABLE)
        if not self._online:
            raise Refused("the relay is offline", _UNAVAILABLE)
        return self._client

    async def _switch(self, *, on: bool, seconds: float | None = None) -> None:
        """Have the relay switched and wait until it says that it is, within one's turn; raises Refused."""
        client = self._reached()
        self._command = command = _Command(on, asyncio.get_running_loop().create_future(), copy_context())
        try:
            await self._publish(client, self._relay.on(seconds) if on else self._relay.off())
            async with asyncio.timeout(_CONFIRMED_WITHIN):
                told = await command.confirmed
        except TimeoutError:
            raise Refused("the relay did not confirm it in time", _GATEWAY_TIMEOUT) from None
        except aiomqtt.MqttError as error:
            raise Refused(f"the MQTT broker is gone: {error}", _UNAVAILABLE) from None
        finally:
            self._command = None
        if told is not None:
            await asyncio.shield(told)

    async def _lock(self) -> None:
        """Have the relay switched off; once it is, nothing is due and nothing is held. Raises Refused."""
        await self._switch(on=False)
        self.status.pop(_LOCK_DUE, None)
        await self._end_hold()

    async def _end_hold(self) -> None:
        if self.status[_HELD]:
            self.status[_HELD] = False
            await self._tell("device.forceopen.off")

    def _lock_in_time(self) -> None:
        """Have one task that sees to what is due, and no other."""
        if self._locking is not None:
            self._locking.cancel()
        self._locking = self.spawn(self._keep_locking())

    async def _keep_locking(self) -> None:
        """Lock when that is due, trying until the relay has confirmed it."""
        CALLER.set(None)
        spare = _OWN_TIMER if self._relay.switches_back else 0.0
        while (due := self.status.get(_LOCK_DUE)) is not None:
            if (pause := due + spare - self.now()) > 0:
                await self.sleep(pause)
                continue
            async with self._turn:
                if self.status.get(_LOCK_DUE) != due:
                    continue
                if self._relay.switches_back and self._online and self.status.get("relay") is False:
                    self.status.pop(_LOCK_DUE)  # it did so by itself
                    return
                try:
                    await self._lock()
                except Refused as refusal:
                    self.logger.debug("the door is not locked yet: %s", refusal)
            await self.sleep(_LOCK_PAUSE)

    async def _publish(self, client: aiomqtt.Client, messages: tuple[Message, ...]) -> None:
        for message in messages:
            self.logger.debug("publish %s %s", message.topic, message.payload)
            await client.publish(message.topic, message.payload, qos=1)

    async def _stay_connected(self) -> None:
        """Connect again whenever the broker is gone."""
        pause = _FIRST_PAUSE
        while True:
            try:
                async with self._connected() as client:
                    pause = _FIRST_PAUSE
                    async for message in client.messages:
                        await self._receive(str(message.topic), message.payload, is_kept=message.retain)
            except aiomqtt.MqttError as error:
                host, port = self.settings.host, self.settings.port
                self.logger.warn("the MQTT broker at %s:%d is away: %s", host, port, error)  # noqa: G010 - its own levels
            await self.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[aiomqtt.Client]:
        settings = self.settings
        client = aiomqtt.Client(
            settings.host,
            settings.port,
            username=settings.username,
            password=settings.password,
            identifier=f"doorstream-{self.module.id}",
            keepalive=_KEEPALIVE,
            tls_context=ssl.create_default_context() if settings.tls else None,
        )
        async with client:
            try:
                for topic in self._relay.topics:
                    await client.subscribe(topic, qos=1)
                self._client = client
                self.logger.info("connected to the MQTT broker")
                await self._publish(client, self._relay.ask())
                yield client
            finally:
                self._client = None
                self._online = False
                self._give_up("the MQTT broker is gone")
                self._see_connection()

    async def _receive(self, topic: str, payload: Any, *, is_kept: bool) -> None:
        """Take in a message. One that the broker kept (``retain``) does not tell that the device is there."""
        said = self._relay.read(topic, bytes(payload)) if isinstance(payload, bytes | bytearray) else None
        if said is None:
            return
        self.logger.debug("received %s %r", topic, bytes(payload)[:200])
        was_online = self._online
        if said.online is not None:
            self._online = said.online
        elif not is_kept:
            self._online = True  # who says something is there
        has_come = said.online is True and not is_kept  # else it was asked when we came, or just answers
        if has_come and not was_online and self._client is not None:
            await self._publish(self._client, self._relay.ask())
        self._see_connection()
        await self._take_over(said)

    async def _take_over(self, said: Said) -> None:
        if said.relay is not None:
            await self._relay_is(on=said.relay)
        if said.contact is not None:
            is_open = said.contact is not self.settings.contact_inverted
            known = self.status.get("contact_open")
            self.status["contact_open"] = is_open
            if known is not None and known is not is_open:
                await self._tell("device.input.dps.opened" if is_open else "device.input.dps.closed")

    async def _relay_is(self, *, on: bool) -> None:
        known, command = self.status.get("relay"), self._command
        self.status["relay"] = on
        topic = "device.input.relay.on" if on else "device.input.relay.off"
        if command is not None and command.on is on and not command.confirmed.done():
            told = command.context.run(self._begin_to_tell, topic) if known is not on else None
            command.confirmed.set_result(told)
            return
        if known is not None and known is not on:
            await self._tell(topic)
        if not on and (command is None or command.on):  # a command to switch off ends it, too, once it is confirmed
            await self._end_hold()

    async def _tell(self, topic: str) -> None:
        """Keep what has happened at the door, however long the log is away; it goes on also if nobody waits for it."""
        await asyncio.shield(self._begin_to_tell(topic))

    def _begin_to_tell(self, topic: str) -> asyncio.Future[None]:
        kept: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.spawn(self._tell_in_the_end(topic, int(self.now() * 1000), str(uuid7()), kept))
        return kept

    async def _tell_in_the_end(self, topic: str, occurred: int, event_id: str, kept: asyncio.Future[None]) -> None:
        async with self._telling:
            while True:
                try:
                    await self.emit(topic, occurred=occurred, id=event_id)
                except (LogUnavailable, StorageFull):
                    await self.sleep(_LOG_PAUSE)
                else:
                    break
        if not kept.done():
            kept.set_result(None)

    def _give_up(self, why: str) -> None:
        if self._command is not None and not self._command.confirmed.done():
            self._command.confirmed.set_exception(Refused(why, _UNAVAILABLE))

    def _is_connected(self) -> bool:
        return self._online
