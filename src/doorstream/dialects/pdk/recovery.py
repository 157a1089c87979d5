"""Socket.IO's connection state recovery without stored sessions (D13).

A ``pid`` is a signed text that says where its connection began; an offset, the last argument of every event, says where
it stood and what was subscribed. Both are absolute, so they mean the same after a restart and on another node.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from doorstream.auth import InvalidToken, Signer
from doorstream.dialects.pdk.messages import LIVE_EVENT, UNDER_OWN_NAME
from doorstream.events import STREAMED, Position

_NEVER_SUBSCRIBED = "n"
_OFFSET = re.compile(r"([0-9A-Za-z]{1,64}\.[0-9]{1,18})\.([01])\.(n|[0-9a-f]{1,16})")

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

    ``pid`` is what the CONNECT is answered with: the client's own means "recovered". ``skip`` packets of the event
    after ``after`` are there already. ``topics`` is what the client had subscribed when it received its last event
    (None: nothing yet, or it received none).
    """

    pid: str
    after: Position
    skip: int = 0
    topics: frozenset[str] | None = None


class _Received(NamedTuple):
    """The last packet that a client received: its event, which of the event's packets, and the topics at that time."""

    position: Position
    packet: int
    topics: frozenset[str] | None

    @property
    def lacks_live_event(self) -> bool:
        """Whether the event's second packet was to follow."""
        return self.packet == UNDER_OWN_NAME and self.topics is not None and LIVE_EVENT in self.topics


def topic_set(topics: frozenset[str] | None) -> str:
    """The short id of a set of topics, as offsets carry it."""
    return _NEVER_SUBSCRIBED if topics is None else f"{sum(_BIT[topic] for topic in topics):x}"


class Recovery:
    """Issues and reads ``pid`` and offsets. ``extent()`` gives the first and last sequence to resume from.

    The first may be some seconds old: ``forget`` what turns out to be gone, so that a client that comes back for it
    again is told. ``nonce`` makes every ``pid`` another one.
    """

    def __init__(
        self,
        signer: Signer,
        epoch: str,
        extent: Callable[[], tuple[int, int]],
        nonce: Callable[[], str] = lambda: secrets.token_hex(4),
    ) -> None:
        self._signer = signer
        self._epoch = epoch
        self._extent = extent
        self._nonce = nonce
        self._first = 0

    def issue(self, site_id: str, position: Position) -> str:
        """A new ``pid`` for a connection to that site that begins there: a client that had another is not recovered."""
        return self._signer.sign(f"{site_id} {position} {self._nonce()}".encode())

    def forget(self, position: Position) -> None:
        """Resume from nothing before that position any more."""
        self._first = max(self._first, position.sequence + 1)

    def is_ahead(self, payload: Mapping[str, Any], site_id: str) -> bool:
        """Tell whether the client has seen what ``extent`` does not have yet: it was served by a quicker process.

        Only the log itself knows whether there is such a position; ask it, and call ``read`` with what it says.
        """
        start = self._start_of(payload.get("pid"), site_id)
        if start is None:
            return False
        received = _parse_offset(payload.get("offset"))
        seen = [start] if received is None else [start, received.position]
        last = self._extent()[1]
        return any(position.epoch == self._epoch and position.sequence > last for position in seen)

    def read(self, payload: Mapping[str, Any], site_id: str, last: int | None = None) -> Resume | None:
        """Where the client goes on; None when it starts anew. ``last`` is the log's, where ``extent`` is behind it."""
        pid = payload.get("pid")
        start = self._start_of(pid, site_id)
        if start is None or start.epoch != self._epoch or not isinstance(pid, str):
            return None
        first, known = self._extent()
        first, last = max(first, self._first), known if last is None else last
        received = _parse_offset(payload.get("offset"))
        # An offset from before the pid's own start is a leftover of an earlier connection.
        if (
            received is not None
            and received.position.epoch == self._epoch
            and max(first - 1, start.sequence) <= received.position.sequence <= last
        ):
            sequence = received.position.sequence
            if received.lacks_live_event and sequence >= first:
                return Resume(pid, Position(self._epoch, sequence - 1), 1, received.topics)
            return Resume(pid, received.position, topics=received.topics)
        if first - 1 <= start.sequence <= last:
            # Nothing was received since: a fresh pid makes the client say again what it wants, and nothing is lost,
            # because it goes on from the same start.
            return Resume(self.issue(site_id, start), start)
        return None

    def _start_of(self, pid: object, site_id: str) -> Position | None:
        if not isinstance(pid, str):
            return None
        try:
            site, position, _nonce = self._signer.verify(pid).decode().split(" ")
        except InvalidToken:
            return None
        return Position.parse(position) if site == site_id else None


def _parse_offset(offset: object) -> _Received | None:
    """``<epoch>.<sequence>.<packet>.<topic set>``; None for anything else."""
    match = _OFFSET.fullmatch(offset) if isinstance(offset, str) else None
    if match is None:
        return None
    mask = None if match[3] == _NEVER_SUBSCRIBED else int(match[3], 16)
    if mask is not None and mask >= 1 << len(_BITS):
        return None
    topics = None if mask is None else frozenset(name for name in _BITS if mask & _BIT[name])
    return _Received(Position.parse(match[1]), int(match[2]), topics)
