"""Socket.IO's connection state recovery without stored sessions (D13).

A ``pid`` is a signed text that says where its connection began; an offset, the last argument of every event, says where
it stood and what was subscribed. Both are absolute, so they mean the same after a restart and on another node.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from doorstream.auth import InvalidToken, Signer
from doorstream.dialects.pdk.messages import LIVE_EVENT
from doorstream.events import STREAMED, InvalidPosition, Position

_NEVER_SUBSCRIBED = "n"

# The bit of a topic in an offset is its place here. Offsets outlive restarts and upgrades: only ever add at the end.
_BITS: tuple[str, ...] = (
    "cloudnode.connected",
    "cloudnode.created",
    "cloudnode.deleted",
    "cloudnode.disconnected",
    "cloudnode.registered",
    "cloudnode.unregistered",
    "device.alarm.forced",
    "device.alarm.forced.cleared",
    "device.alarm.propped.off",
    "device.alarm.propped.on",
    "device.autoopen.off",
    "device.autoopen.on",
    "device.forceclose.off",
    "device.forceclose.on",
    "device.forceopen.off",
    "device.forceopen.on",
    "device.input.dps.closed",
    "device.input.dps.opened",
    "device.input.relay.off",
    "device.input.relay.on",
    "device.input.rex.off",
    "device.input.rex.on",
    "device.request.allowed",
    "device.request.denied",
    "device.request.unknown",
    "endpoint.sync.finished",
    "endpoint.sync.finished.all",
    "endpoint.sync.started",
    "liveEvent",
    "sync.not_synced",
    "sync.synced",
)
_BIT = {name: 1 << at for at, name in enumerate(_BITS)}

KNOWN = STREAMED | {LIVE_EVENT}
"""What can be subscribed."""


@dataclass(frozen=True, slots=True)
class Resume:
    """Where a returning client goes on.

    ``pid`` is what the CONNECT is answered with: the client's own means "recovered". ``topics`` is what it had
    subscribed (None: nothing yet); ``unsettled`` when that is not known, because it had received nothing.
    """

    pid: str
    after: Position
    skip: int = 0
    topics: frozenset[str] | None = None
    unsettled: bool = False


def topic_set(topics: frozenset[str] | None) -> str:
    """The short id of a set of topics, as offsets carry it."""
    return _NEVER_SUBSCRIBED if topics is None else f"{sum(_BIT[topic] for topic in topics):x}"


class Recovery:
    """Issues and reads ``pid`` and offsets. ``extent()`` gives the first and last sequence to resume from."""

    def __init__(self, signer: Signer, epoch: str, extent: Callable[[], tuple[int, int]]) -> None:
        self._signer = signer
        self._epoch = epoch
        self._extent = extent

    def issue(self, site_id: str, position: Position) -> str:
        """A ``pid`` for a connection to that site that begins there."""
        return self._signer.sign(f"{site_id} {position}".encode())

    def read(self, payload: Mapping[str, Any], site_id: str) -> Resume | None:
        """Where the client goes on; None when it starts anew."""
        pid = payload.get("pid")
        if not isinstance(pid, str):
            return None
        start = self._start_of(pid, site_id)
        if start is None:
            return None
        first, last = self._extent()
        at = _parse_offset(payload.get("offset"))
        if at is not None:
            position, packet, topics = at
            # An offset from before the pid's own start is a leftover of an earlier connection.
            if position.epoch == self._epoch and max(first - 1, start.sequence) <= position.sequence <= last:
                if position.sequence < first:
                    return Resume(pid, position, topics=topics)
                return Resume(pid, Position(self._epoch, position.sequence - 1), packet + 1, topics)
        if start.epoch == self._epoch and first - 1 <= start.sequence <= last:
            # Nothing was received since: a fresh pid makes the client say again what it wants, and nothing is lost,
            # because it goes on from the same start.
            return Resume(self.issue(site_id, start), start, unsettled=True)
        return None

    def _start_of(self, pid: str, site_id: str) -> Position | None:
        try:
            site, _, position = self._signer.verify(pid).decode().partition(" ")
        except InvalidToken:
            return None
        return Position.parse(position) if site == site_id else None


def _parse_offset(offset: object) -> tuple[Position, int, frozenset[str] | None] | None:
    """``<epoch>.<sequence>.<packet>.<topic set>``; None for anything else."""
    parts = offset.split(".") if isinstance(offset, str) else []
    if len(parts) != 4:  # noqa: PLR2004 - as the docstring says
        return None
    epoch, sequence, packet, topics = parts
    try:
        position = Position.parse(f"{epoch}.{sequence}")
        number = int(packet)
        mask = None if topics == _NEVER_SUBSCRIBED else int(topics, 16)
    except (InvalidPosition, ValueError):
        return None
    if not 0 <= number <= 1 or (mask is not None and not 0 <= mask < 1 << len(_BITS)):
        return None
    return position, number, None if mask is None else frozenset(name for name in _BITS if mask & _BIT[name])
