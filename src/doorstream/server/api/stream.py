"""Following a site by server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import ClassVar

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse

from doorstream.events import InvalidPosition, Position
from doorstream.live import Description, Entry, Framing, Interest, State, Subscription, unframed
from doorstream.log import PositionGone
from doorstream.server.api.access import Access, Reader
from doorstream.server.api.events import Topics
from doorstream.server.api.problems import Problem
from doorstream.server.services import Services

_KEEP_ALIVE = 15.0
_MAX_UNSENT = 1_000_000
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


@dataclass(frozen=True, slots=True)
class SseEncoder:
    """An event as a server-sent event: its position as id, its topic as name, our public form as data."""

    dialect: ClassVar[str] = "events"

    epoch: str
    patterns: tuple[str, ...]

    @property
    def topics(self) -> frozenset[str] | None:
        """All, or the exact topics; patterns are matched event by event."""
        if not self.patterns or any(pattern.endswith(".*") for pattern in self.patterns):
            return None
        return frozenset(self.patterns)

    def encode(self, entry: Entry) -> tuple[bytes, ...]:
        """One packet, or none for a topic that is not wanted."""
        event = entry.event
        if self.patterns and not any(_matches(pattern, event.topic) for pattern in self.patterns):
            return ()
        packet = entry.memo.get("sse")
        if packet is None:
            packet = entry.memo["sse"] = b"id: %b.%d\nevent: %b\ndata: %b\n\n" % (
                self.epoch.encode(),
                event.sequence,
                event.topic.encode(),
                event.public_json(self.epoch),
            )
        return (packet,)


class SseStream:
    """One response that follows a site. It is bounded: a reader that is too slow is read on for from the log."""

    def __init__(
        self, services: Services, interest: Interest, after: Position | None, reader: Reader, peer: str | None
    ) -> None:
        self._services = services
        self._reader = reader
        self._peer = peer
        self._interest = interest
        self._unsent: list[bytes] = []
        self._size = 0
        self._is_behind = False
        self.replaying = False
        # Two events, because each is cleared by whoever waits for it: a common one would swallow the other's signal.
        self._written = asyncio.Event()
        self._taken = asyncio.Event()
        self._closed = False
        self._subscription = Subscription(services.hub, services.log, self, self)
        if after is not None:
            self._subscription.seek(after)
        else:
            self._subscription.hold()  # from here on, so that nothing is missed while the response begins

    framing: Framing = staticmethod(unframed)

    def write(self, data: bytes) -> None:
        """Take bytes from the hub."""
        self._unsent.append(data)
        self._size += len(data)
        self._written.set()
        if self._size > _MAX_UNSENT and not self._is_behind:
            self._is_behind = True
            asyncio.get_running_loop().call_soon(self._fall_back)  # the hub may be in the middle of writing

    def _fall_back(self) -> None:
        """Stop being live: from here on events are read from the ring or the log, as fast as they are taken."""
        if self._is_behind and self._subscription.state is State.LIVE:  # it may have caught up in the meantime
            self._subscription.hold()

    @property
    def is_drained(self) -> bool:
        """Whether the reader took everything."""
        return not self._size

    async def drained(self) -> None:
        """Wait until the reader took what is there."""
        while self._size:
            self._taken.clear()
            await self._taken.wait()

    def position_gone(self, error: PositionGone) -> None:
        """Say what is missing, and go on with what is kept (D15)."""
        self.write(b'id: %b\nevent: gap\ndata: {"first":"%b"}\n\n' % ((str(error.first).encode(),) * 2))
        self._subscription = Subscription(self._services.hub, self._services.log, self, self)
        self._subscription.seek(error.first)
        self._subscription.follow(self._interest)

    def recheck(self) -> None:
        """End the response when the reader's rights are gone."""
        if not self._reader.still_allowed():
            self.end()

    def describe(self) -> Description:
        """What there is to say of it."""
        encoder, principal = self._interest.encoder, self._reader.principal
        patterns = encoder.patterns if isinstance(encoder, SseEncoder) else ()
        return Description(
            dialect="events",
            transport="server-sent events",
            client_id=principal.id if principal.kind == "client" else None,
            user_id=principal.id if principal.kind == "user" else None,
            site_id=self._interest.site_id,
            peer=self._peer,
            subscriptions=patterns or None,
            state=self._subscription.state.value,
            position=self._subscription.position,
            unsent=self._size,
        )

    def end(self) -> None:
        """End the response."""
        self._closed = True
        self._written.set()

    async def chunks(self) -> AsyncIterator[bytes]:
        """The response's body, until the reader leaves.

        It begins with an id alone, which is no event: a reader that is cut off before its first event resumes too.
        """
        self._services.presence.enter(self)
        self.recheck()  # the reader was judged before the response began
        ends = self._reader.ends
        alarm = self._services.alarms.at(ends, self.end) if ends is not None else None
        try:
            yield b": doorstream\nid: %b\n\n" % str(self._subscription.position).encode()
            self._subscription.follow(self._interest)
            while not self._closed:
                if not self._unsent:
                    self._written.clear()
                    try:
                        await asyncio.wait_for(self._written.wait(), _KEEP_ALIVE)
                    except TimeoutError:
                        yield b": keep-alive\n\n"
                    continue
                data, self._unsent = b"".join(self._unsent), []
                yield data
                self._size -= len(data)
                self._taken.set()
                if self._is_behind and not self._size:
                    self._is_behind = False
                    if self._subscription.state is State.HELD:
                        self._subscription.follow(self._interest)
        finally:
            if alarm is not None:
                alarm.cancel()
            self._subscription.close()
            self._services.presence.leave(self)


def stream_router(services: Services, access: Access) -> APIRouter:
    """``/api/sites/{site_id}/stream``."""
    router = APIRouter(tags=["events"])

    @router.get("/api/sites/{site_id}/stream", summary="Follow a site live", response_class=StreamingResponse)
    async def stream(
        site_id: str,
        request: Request,
        topic: Topics = None,
        after: str | None = None,
        ticket: str | None = None,
    ) -> StreamingResponse:
        """Server-sent events; each ``id`` is a position.

        ``Last-Event-ID`` (or ``after``) resumes after a position: what is no longer kept is told by ``event: gap``.
        Browsers, which cannot send headers here, use a one-time ``ticket``.
        """
        reader = access.reader(request, site_id, ticket)
        peer = request.client.host if request.client is not None else None
        resume = request.headers.get("last-event-id") or after
        encoder = SseEncoder(services.log.epoch, tuple(sorted(set(topic or ()))))
        follower = SseStream(services, Interest(site_id, encoder, unframed), _position(resume), reader, peer)
        return StreamingResponse(follower.chunks(), media_type="text/event-stream", headers=_HEADERS)

    return router


def _position(text: str | None) -> Position | None:
    if text is None:
        return None
    try:
        return Position.parse(text)
    except InvalidPosition as error:
        raise Problem("invalid-parameter", str(error)) from None


def _matches(pattern: str, topic: str) -> bool:
    return topic.startswith(pattern[:-1]) if pattern.endswith(".*") else topic == pattern
