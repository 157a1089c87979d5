"""Every webhook's courier, and what they share. It runs in one worker only."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import structlog

from doorstream.directory import SYSTEM, Conflict, Directory, NotFound
from doorstream.events import Event, EventError
from doorstream.events.draft import parse_time
from doorstream.events.entities import Entity, Webhook
from doorstream.ingest import Ingest
from doorstream.live import Alarms, Hub
from doorstream.log import EventLog, LogError, Message
from doorstream.webhooks.counts import Counts, Unfinished, unfinished
from doorstream.webhooks.courier import Courier
from doorstream.webhooks.desk import Send
from doorstream.webhooks.ledger import Ledger
from doorstream.webhooks.matching import unpack
from doorstream.webhooks.post import Post
from doorstream.webhooks.records import Cursor, cursor_message
from doorstream.webhooks.store import Store

_logger = structlog.get_logger(__name__)

CURSORS_EVERY = 2.0
"""Seconds between two times that positions are kept. What was finished since is known by the ledger."""

STATES = ("enabled", "slowed", "paused", "disabled", "expired")
"""How a webhook can be doing: ``slowed`` by its failures, ``paused`` for as long as its receiver asked for."""

_ALL_CURSORS_EVERY = 150  # rounds, for webhooks to which nothing happened
_TIDY_EVERY = 30  # rounds
_RETRY = 1.0


class Engine:
    """Brings events to webhooks. ``clock`` gives unix seconds, ``chance`` numbers from 0 to 1.

    ``send`` makes the attempts; whoever wants to see each of them may put something of the same kind around it.
    """

    def __init__(  # noqa: PLR0913 - what couriers share, each by its name
        self,
        *,
        hub: Hub,
        log: EventLog,
        store: Store,
        ledger: Ledger,
        alarms: Alarms,
        post: Post,
        directory: Directory,
        ingest: Ingest,
        clock: Callable[[], float],
        chance: Callable[[], float],
    ) -> None:
        self.hub = hub
        self.log = log
        self.store = store
        self.ledger = ledger
        self.alarms = alarms
        self.post = post
        self.send: Send = post.send
        self.counts = Counts()
        self.clock = clock
        self.chance = chance
        self.couriers: dict[str, Courier] = {}
        self._directory = directory
        self._ingest = ingest
        self._locks: dict[str, asyncio.Lock] = {}
        self._kept: dict[str, Cursor] = {}
        self._tidied: dict[str, int] = {}
        self._unknown: set[str] = set()
        self._unpacked: tuple[bytes, list[Event]] = (b"", [])
        self._tasks: set[asyncio.Task[None]] = set()
        self._rounds = 0
        self._is_stopping = False

    async def start(self) -> None:
        """Begin with every webhook that is enabled. The ledger must hold everything."""
        self.ledger.on_due(self._fell_due)
        self._directory.on_change(self._changed)
        await asyncio.gather(*(self._settle(webhook) for webhook in self._directory.webhooks))
        self._spawn(self._keep_regularly())

    async def stop(self) -> None:
        """Stop all, and keep how far they have come."""
        self._is_stopping = True
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(courier.stop() for courier in self.couriers.values()))
        with contextlib.suppress(LogError):
            await self.keep_cursors(everybody=True)

    async def keep_cursors(self, *, everybody: bool = False) -> None:
        """Keep how far webhooks have come: those to which something happened, or all. Raises LogUnavailable."""
        messages: list[Message] = []
        kept: dict[str, Cursor] = {}
        moved = [each for each in self.couriers.items() if each[1].has_moved or everybody]
        for webhook_id, courier in moved:
            courier.has_moved = False
            cursor = await courier.cursor()
            if cursor != self._kept.get(webhook_id):
                kept[webhook_id] = cursor
                messages.append(cursor_message(webhook_id, cursor))
        try:
            await self.store.put_many(messages)
        except LogError:
            for _, courier in moved:
                courier.has_moved = True
            raise
        self._kept.update({each: cursor for each, cursor in kept.items() if each in self.couriers})

    # What can be seen from outside.

    def state(self, webhook: Webhook) -> str:
        """How it is doing: one of STATES."""
        if not webhook.enabled:
            return "disabled"
        if not is_on(webhook, self.clock()):
            return "expired"
        courier = self.couriers.get(webhook.id)
        return courier.state if courier is not None else "enabled"

    def behind(self) -> int:
        """How many events the webhook that is furthest behind has not looked at yet."""
        return max((courier.behind for courier in self.couriers.values()), default=0)

    async def unfinished(self) -> Unfinished:
        """The deliveries of all webhooks that wait or were given up; raises LogUnavailable."""
        return await self.ledger.ask(unfinished)

    # What couriers share.

    def latest(self, webhook: Webhook) -> Webhook:
        """The webhook as the directory has it now, if it still has it."""
        site = self._directory.site(webhook.site_id)
        return (site.webhooks.get(webhook.id) if site is not None else None) or webhook

    def unpacked(self, data: bytes) -> list[Event]:
        """The events of what the hub wrote; the same bytes go to all members of a group, one after the other."""
        if data is not self._unpacked[0]:
            self._unpacked = (data, list(unpack(data)))
        return self._unpacked[1]

    def tell(self, webhook: Webhook, what: str, reason: str, since: float) -> None:
        """Put in ``x.webhook.<what>``, once for a webhook and a time, however often it is told."""
        self._spawn(self._tell(webhook, what, reason, since))

    def disable(self, webhook: Webhook, reason: str, since: float) -> None:
        """Disable a webhook, and tell it."""
        self._spawn(self._disable(webhook, reason, since))

    async def _tell(self, webhook: Webhook, what: str, reason: str, since: float) -> None:
        event = {
            "id": f"{webhook.id}-{what}-{int(since * 1000)}",
            "topic": f"x.webhook.{what}",
            "occurred": int(self.clock() * 1000),
            "body": {"webhookId": webhook.id, "name": webhook.name, "reason": reason},
        }
        _logger.info("webhook", webhook=webhook.id, name=webhook.name, what=what, reason=reason)
        while (site := self._directory.site(webhook.site_id)) is not None:
            try:
                await self._ingest.put_values(webhook.site_id, site, [event])
            except LogError:
                await asyncio.sleep(_RETRY)
            except EventError:
                _logger.exception("an event of a webhook is refused", webhook=webhook.id)
                return
            else:
                return

    async def _disable(self, webhook: Webhook, reason: str, since: float) -> None:
        def update(old: Webhook) -> Webhook:
            if old.enabled_at != webhook.enabled_at:  # somebody enabled it again meanwhile
                return old
            return replace(old, enabled=False, disabled_reason=reason, disabled_at=self._directory.now())

        while True:
            try:
                changed = await self._directory.change(webhook, update, SYSTEM)
            except (LogError, Conflict):
                await asyncio.sleep(_RETRY)
            except NotFound:
                return
            else:
                break
        if changed.enabled_at == webhook.enabled_at:
            await self._tell(webhook, "disabled", reason, since)

    # Which couriers there are.

    def _changed(self, kind: str, before: Entity | None, after: Entity | None) -> None:
        if kind == "webhook" and not self._is_stopping:
            webhook = after if after is not None else before
            assert isinstance(webhook, Webhook)  # noqa: S101 - of that kind
            self._spawn(self._settle(webhook))

    def _fell_due(self, webhook_id: str) -> None:
        courier = self.couriers.get(webhook_id)
        if courier is not None:
            courier.has_due()

    async def _settle(self, changed: Webhook) -> None:
        """Bring a webhook's courier in line with what the directory says now."""
        async with self._locks.setdefault(changed.id, asyncio.Lock()):
            site = self._directory.site(changed.site_id)
            webhook = site.webhooks.get(changed.id) if site is not None else None
            courier = self.couriers.get(changed.id)
            if courier is not None and (webhook is None or _must_restart(courier.webhook, webhook, self.clock())):
                await self._end(courier, is_gone=webhook is None)
                courier = None
            if webhook is None:
                await self._forget(changed.id)
            elif courier is not None:
                courier.change(webhook)
            elif is_on(webhook, self.clock()):
                await self._begin(webhook)

    async def _begin(self, webhook: Webhook) -> None:
        courier = Courier(self, webhook)
        while True:
            try:
                await self.ledger.current()
                await courier.start()
            except LogError as error:
                _logger.warning("a webhook has to wait", webhook=webhook.id, reason=str(error))
                await asyncio.sleep(_RETRY)
            else:
                break
        self.couriers[webhook.id] = courier
        courier.has_due()  # one may have come before it was known here
        if webhook.expires is not None:
            when = parse_time(webhook.expires) / 1000
            self.alarms.at(when, lambda: self._spawn(self._settle(webhook)))

    async def _end(self, courier: Courier, *, is_gone: bool) -> None:
        del self.couriers[courier.webhook.id]
        await courier.stop()
        cursor = await courier.cursor()
        if not is_gone and cursor != self._kept.pop(courier.webhook.id, None):
            await self.store.put_surely([cursor_message(courier.webhook.id, cursor)])

    async def _forget(self, webhook_id: str) -> None:
        self._kept.pop(webhook_id, None)
        self._tidied.pop(webhook_id, None)
        await self.store.forget(webhook_id)
        with contextlib.suppress(LogError):
            await self.ledger.current()
            await self.ledger.forget(webhook_id)

    async def forget_deleted(self) -> None:
        """Let go of what was left by webhooks that were deleted while nobody delivered, if NATS can be asked.

        What is unknown twice in a row is gone: one that was just made by another process may not have come here yet.
        """
        try:
            unknown = await self.store.webhooks()
        except LogError:
            return
        unknown -= {webhook.id for webhook in self._directory.webhooks}
        for webhook_id in unknown & self._unknown:
            async with self._locks.setdefault(webhook_id, asyncio.Lock()):
                if all(webhook.id != webhook_id for webhook in self._directory.webhooks):  # it may be there again
                    await self._forget(webhook_id)
        self._unknown = unknown

    async def _keep_regularly(self) -> None:
        while True:
            await asyncio.sleep(CURSORS_EVERY)
            self._rounds += 1
            with contextlib.suppress(LogError):
                await self.keep_cursors(everybody=self._rounds % _ALL_CURSORS_EVERY == 0)
                if self._rounds % _TIDY_EVERY == 0:
                    await self._tidy()
                    self._spawn(self.forget_deleted())  # if it fails, positions are kept all the same

    async def _tidy(self) -> None:
        """Let go of what fell due and was attempted."""
        for webhook_id, courier in tuple(self.couriers.items()):
            floor = courier.due_floor()
            if floor > self._tidied.get(webhook_id, 0):
                self._tidied[webhook_id] = floor
                await self.store.forget_dues(webhook_id, floor + 1)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _logger.error("the engine of webhooks failed", exc_info=error)


def is_on(webhook: Webhook, now: float) -> bool:
    """Whether a webhook is enabled and not expired."""
    return webhook.enabled and (webhook.expires is None or parse_time(webhook.expires) > now * 1000)


def _must_restart(before: Webhook, after: Webhook, now: float) -> bool:
    return not is_on(after, now) or any(
        getattr(before, name) != getattr(after, name) for name in ("ordered", "start", "enabled_at", "expires")
    )
