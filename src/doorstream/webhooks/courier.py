"""One webhook on its way through the log.

A courier holds a position and a bounded number of deliveries. It follows the log through the hub until so many are
under way that it stops reading; then it stays at its position, and goes on when there is room. A failed delivery leaves
it: it becomes a message that JetStream gives back when it is due (``records.py``), so that it costs nothing meanwhile
and is in nobody's way. Everything up to ``cursor`` is finished: delivered, kept for later, given up or not wanted.

While the breaker is open nothing is read and nothing is kept here but the position; single probes are sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Literal, Protocol

import structlog
from msgspec import structs

from doorstream.events import Event, Position
from doorstream.events.entities import Webhook
from doorstream.live import Alarm, Alarms, Framing, Hub, Subscription, unframed
from doorstream.log import EventLog, LogUnavailable, PositionGone
from doorstream.webhooks.breaker import Breaker, Change
from doorstream.webhooks.counts import Counts
from doorstream.webhooks.ledger import Ledger
from doorstream.webhooks.matching import device_of, filter_of, interest_of, line_of
from doorstream.webhooks.order import Lines
from doorstream.webhooks.post import Post, Unwritable
from doorstream.webhooks.recorder import Recorder
from doorstream.webhooks.records import (
    Attempt,
    Cursor,
    Due,
    State,
    attempt_of,
    attempts_message,
    delivery_id,
    due_after,
    later_message,
    message_id,
    shown_answer,
)
from doorstream.webhooks.schedule import Verdict, judge, waits_of
from doorstream.webhooks.sender import Outcome
from doorstream.webhooks.store import Store

_logger = structlog.get_logger(__name__)

ROOM = 256
"""Deliveries of one webhook that are in memory before it stops reading; a portion that is being read comes on top."""

GRACE = 2.0
"""Seconds for which attempts under way are waited for when a webhook stops."""

EVENT_GONE = "event gone"
"""The error of a delivery whose event the log no longer has."""

NOT_IN_FORM = "not in this form"
"""The error of a replay of an event that the webhook's form has nothing to say of."""

_LOW = ROOM // 2
_DUES = 64
_RETRY = 1.0

Send = Callable[[Webhook, Event, Due], Awaitable[Outcome | None]]
"""Makes one attempt; None where the webhook's form has nothing to say of such an event. Raises Unwritable."""


class Desk(Protocol):
    """What couriers share. ``clock`` gives unix seconds, ``chance`` numbers from 0 to 1."""

    hub: Hub
    log: EventLog
    store: Store
    ledger: Ledger
    alarms: Alarms
    post: Post
    send: Send
    counts: Counts
    clock: Callable[[], float]
    chance: Callable[[], float]

    def latest(self, webhook: Webhook) -> Webhook:
        """The webhook as the directory has it now: its address, headers and secrets."""

    def unpacked(self, data: bytes) -> list[Event]:
        """The events of what the hub wrote, decoded once for all."""

    def tell(self, webhook: Webhook, what: str, reason: str, since: float) -> None:
        """Put in the event ``x.webhook.<what>``; ``since`` (unix seconds) tells one time from another."""

    def disable(self, webhook: Webhook, reason: str, since: float) -> None:
        """Disable a webhook, and tell it."""


class _Job:
    """A delivery in memory. ``stored`` is the place of its due in the stream, None for what the log brought.

    ``is_held`` for one that was held back: the log's part of it is finished.
    """

    __slots__ = ("due", "event", "is_held", "stored")

    def __init__(self, due: Due, event: Event | None, *, stored: int | None = None, is_held: bool = False) -> None:
        self.due = due
        self.event = event
        self.stored = stored
        self.is_held = is_held

    @property
    def is_of_log(self) -> bool:
        """Whether reading the log again would bring it again."""
        return self.stored is None and not self.is_held


class Courier:
    """Delivers to one webhook, from ``start`` until ``stop``."""

    framing: Framing = staticmethod(unframed)

    def __init__(self, desk: Desk, webhook: Webhook) -> None:
        self.webhook = webhook
        self.replaying = False
        self.has_moved = False
        self._desk = desk
        self._wants = filter_of(webhook)
        self._interest = interest_of(webhook)
        self._subscription = Subscription(desk.hub, desk.log, self, self)
        self._is_following = False
        self._is_deaf = False
        self._read = 0
        self._finished: set[int] = set()
        self._again: set[int] = set()
        self._again_upto = 0
        self._unfinished: dict[int, None] = {}
        self._ready: deque[_Job] = deque()
        self._lines: Lines[_Job] = Lines()
        self._dues: set[tuple[str, int]] = set()
        self._due_mark = 0
        self._has_dues = True
        self._is_loading = False
        self._breaker = Breaker()
        self._active = 0
        self._recorder = Recorder(desk.store, webhook.id, self._made_room)
        self._paused_until = 0.0
        self._next_free = 0.0
        self._alarm: Alarm | None = None
        self._alarm_at = 0.0
        self._space = asyncio.Event()
        self._attempts: set[asyncio.Task[None]] = set()
        self._chores: set[asyncio.Task[None]] = set()
        self._is_stopped = False

    # Life.

    async def start(self) -> None:
        """Go on where the ledger says; raises LogUnavailable."""
        ledger, webhook = self._desk.ledger, self.webhook
        begin = await self._begin()
        self._finished = await self._finished_after(begin)
        self._breaker = await self._remembered_breaker()
        lines = await ledger.lines(webhook.id)
        self._read = begin.sequence
        self._subscription.seek(begin)
        for line, waits in lines.items():
            self._lines.block(line)
            if not (waits and webhook.ordered):
                self._chore(self._next_of_line(line))
        self._load_dues()
        self._go_on()

    async def stop(self) -> None:
        """Stop; what does not end in a moment is attempted again by whoever goes on."""
        self._is_stopped = True
        if self._is_following:
            if not self._is_deaf:
                self._subscription.hold()
                self._read = max(self._read, self._subscription.position.sequence)
            self._is_following = False
        self._subscription.close()
        if self._alarm is not None:
            self._alarm.cancel()
        for chore in self._chores:
            chore.cancel()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GRACE):
                if self._attempts:
                    await asyncio.wait(self._attempts)
                await self._recorder.settle()
        left = (*self._attempts, *self._chores)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    def change(self, webhook: Webhook) -> None:
        """Go on with other values."""
        self.webhook = webhook
        self._wants = filter_of(webhook)
        interest = interest_of(webhook)
        if interest != self._interest:
            self._interest = interest
            if self._is_following:
                self._subscription.follow(interest)
        self._pump()

    def has_due(self) -> None:
        """Something fell due."""
        self._has_dues = True
        self._load_dues()

    async def cursor(self) -> Cursor:
        """Everything up to here is finished."""
        reached = self._place()
        await asyncio.sleep(0)  # what the hub published in this turn of the loop is written at its end
        await asyncio.sleep(0)
        open_places = [min(self._unfinished, default=None), min(self._again, default=None)]
        firsts = [place - 1 for place in open_places if place is not None]
        return Cursor(reached.epoch, min(reached.sequence, *firsts) if firsts else reached.sequence)

    def due_floor(self) -> int:
        """Everything that fell due before this place in the stream is attempted, as far as is known here."""
        return self._due_mark if not self._dues and not self._has_dues and not self._is_loading else 0

    @property
    def state(self) -> Literal["enabled", "slowed", "paused"]:
        """How it is doing; see ``engine.STATES``."""
        if self._breaker.open:
            return "slowed"
        return "paused" if self._paused_until > self._desk.clock() else "enabled"

    @property
    def behind(self) -> int:
        """How many events were handed out that it has not looked at yet."""
        return max(self._desk.hub.sequence - self._place().sequence, 0)

    def _place(self) -> Position:
        """Everything up to here was judged."""
        if self._is_following and not self._is_deaf:
            return self._subscription.position
        return Position(self._desk.hub.epoch, self._read)

    async def _begin(self) -> Position:
        """The later of where the webhook is to start and where it had come."""
        log = self._desk.log
        start = Position.parse(self.webhook.start)
        cursor = await self._desk.ledger.cursor(self.webhook.id)
        places = [log.own_place(start.epoch, start.sequence)]
        if cursor is not None:
            places.append(log.own_place(cursor.epoch, cursor.sequence))
        known = [place for place in places if place is not None]
        return Position(log.epoch, max(known, default=0))  # none: the log was made anew, and all of it is new

    async def _finished_after(self, begin: Position) -> set[int]:
        """What was finished beyond where it begins, also in the logs that this one is a copy of."""
        ledger, log, webhook_id = self._desk.ledger, self._desk.log, self.webhook.id
        finished = await ledger.finished_after(webhook_id, Cursor(begin.epoch, begin.sequence))
        for epoch, upto in log.earlier.items():
            before = await ledger.finished_after(webhook_id, Cursor(epoch, begin.sequence))
            finished |= {place for place in before if place <= upto}
        return finished

    async def _remembered_breaker(self) -> Breaker:
        health = await self._desk.ledger.health(self.webhook.id)
        enabled = self.webhook.enabled_at
        if health is None or health.since is None or health.last is None or health.last / 1000 <= enabled:
            return Breaker()
        return Breaker.resumed(health.failures, max(health.since / 1000, enabled), health.last / 1000)

    # Reading: this is the outlet and the consumer of a subscription.

    def write(self, data: bytes) -> None:
        """Take what the hub hands over."""
        for event in self._desk.unpacked(data):
            self._take(event)
        if self._is_following and not self.replaying and (self._is_deaf or self._is_full()):
            asyncio.get_running_loop().call_soon(self._hold)
        self._pump()

    @property
    def is_drained(self) -> bool:
        """Whether there is room."""
        return len(self._unfinished) < _LOW

    async def drained(self) -> None:
        """Wait for room."""
        while self._is_deaf or not self.is_drained:
            if self._is_deaf:
                asyncio.get_running_loop().call_soon(self._hold)  # which ends the replay that waits here
            self._space.clear()
            await self._space.wait()

    def position_gone(self, error: PositionGone) -> None:
        """The log no longer has what comes next: go on with what it has, and say so."""
        self._desk.tell(self.webhook, "gap", f"events before {error.first} are no longer kept", self._desk.clock())
        self._is_following = False
        self._again = {place for place in self._again if place > error.first.sequence}
        self._subscription = Subscription(self._desk.hub, self._desk.log, self, self)
        self._read = error.first.sequence
        self._subscription.seek(error.first)
        self._go_on()

    def _is_full(self) -> bool:
        return len(self._unfinished) >= ROOM

    def _take(self, event: Event) -> None:
        """Judge an event that comes past, and begin its delivery."""
        sequence = event.sequence
        if self._is_deaf or sequence <= self._read:
            return
        self._read = sequence
        if sequence <= self._again_upto and sequence not in self._again:
            return
        self._again.discard(sequence)
        if sequence in self._finished:
            self._finished.discard(sequence)
            return
        if not self._wants(event):
            return
        self.has_moved = True
        self._unfinished[sequence] = None
        self._begin_delivery(event)
        if self._breaker.open:
            self._is_deaf = True  # one probe at a time

    def _begin_delivery(self, event: Event) -> None:
        epoch, webhook = self._desk.hub.epoch, self.webhook
        line = line_of(event) if webhook.ordered else None
        due = Due(
            delivery_id(epoch, event.sequence),
            epoch,
            event.sequence,
            event.id,
            event.site_id,
            event.topic,
            message_id(event, webhook),
            device=device_of(event),
            line=line,
        )
        job = _Job(due, event)
        if line is None or self._lines.enter(line, job):
            self._ready.append(job)
        elif self._lines.is_blocked(line):
            self._hold_back([job], line)

    def _go_on(self) -> None:
        """Read on, if there is room and the breaker lets it."""
        if self._is_stopped or self._is_following or not self.is_drained:
            return
        if self._breaker.open and (self._ready or self._active or self._is_loading):
            return
        self._is_deaf = False
        self._is_following = True
        self._subscription.follow(self._interest)
        if not self.replaying and (self._is_deaf or self._is_full()):
            asyncio.get_running_loop().call_soon(self._hold)

    def _hold(self) -> None:
        """Stop reading, unless there is no longer a reason. What came while nobody listened is read again."""
        if not self._is_following or self._is_stopped or not (self._is_deaf or self._is_full()):
            return
        self._subscription.hold()
        self._is_following = False
        if self._is_deaf:
            self._subscription.seek(Position(self._desk.hub.epoch, self._read))
        else:
            self._read = max(self._read, self._subscription.position.sequence)
        self._go_on()

    def _slow_down(self) -> None:
        """Keep one delivery to probe with, and the position; the log and the ledger bring the others again."""
        self._is_deaf = True
        probe = next((job for job in self._ready if job.is_of_log), None)
        kept = deque(job for job in self._ready if job is probe or job.is_held)
        dropped = [job for job in self._ready if job.is_of_log and job is not probe]
        for job in self._ready:
            if job.stored is not None:
                self._dues.discard((job.due.delivery, job.due.number))
        dropped += self._lines.drop_behind()
        for job in dropped:
            self._unfinished.pop(job.due.sequence, None)
            if job.due.line is not None and job in self._ready:
                self._lines.leave(job.due.line)
        self._ready = kept
        self._again_upto = max(self._again_upto, self._read)
        self._again.update(job.due.sequence for job in dropped)
        if self._again:
            self._read = min(self._read, min(self._again) - 1)
        self._due_mark = 0
        self._has_dues = True
        if self._is_following:
            asyncio.get_running_loop().call_soon(self._hold)
        else:
            self._subscription.seek(Position(self._desk.hub.epoch, self._read))

    # Retries and replays: they come from the ledger, oldest first.

    def _load_dues(self) -> None:
        if self._has_dues and not self._is_loading and not self._is_stopped and self._has_room_for_dues():
            self._is_loading = True
            self._chore(self._load())

    def _has_room_for_dues(self) -> bool:
        return not (self._ready or self._active) if self._breaker.open else len(self._dues) < _DUES

    async def _load(self) -> None:
        try:
            while self._has_dues and self._has_room_for_dues():
                self._has_dues = False
                limit = 1 if self._breaker.open else _DUES
                try:
                    await self._desk.ledger.reached(self._recorder.stored)
                    mark = self._due_mark
                    rows = await self._desk.ledger.dues(self.webhook.id, mark, limit)
                except LogUnavailable:
                    self._has_dues = True
                    await asyncio.sleep(_RETRY)
                    continue
                if self._due_mark != mark:  # slowed down meanwhile, which begins anew
                    self._has_dues = True
                    continue
                for stored, due in rows:
                    self._due_mark = stored
                    if (due.delivery, due.number) not in self._dues:
                        self._dues.add((due.delivery, due.number))
                        self._ready.append(_Job(due, None, stored=stored))
                self._has_dues = self._has_dues or len(rows) == limit
        finally:
            self._is_loading = False
        self._pump()
        self._go_on()

    # Sending.

    def _pump(self) -> None:
        """Begin as many attempts as may be under way now."""
        while (job := self._next()) is not None:
            _run(self._attempts, self._work(job), self._ended)

    def _next(self) -> _Job | None:
        """The next delivery, if it may begin now; it counts as under way."""
        if not self._ready or self._is_stopped or self._active >= self._breaker.width(self.webhook.concurrency):
            return None
        now = self._desk.clock()
        earliest = max(self._paused_until, self._breaker.not_before, self._next_free)
        if earliest > now:
            self._wake_at(earliest)
            return None
        if self.webhook.rate is not None:
            self._next_free = max(self._next_free, now) + 1 / self.webhook.rate
        self._active += 1
        return self._ready.popleft()

    def _wake_at(self, when: float) -> None:
        if self._alarm is not None and self._alarm.callback is not None:
            if self._alarm_at == when:
                return
            self._alarm.cancel()
        self._alarm_at = when
        self._alarm = self._desk.alarms.at(when, self._pump)

    async def _work(self, job: _Job | None) -> None:
        """Make one attempt after the other, for as long as there are some that may begin."""
        while job is not None:
            try:
                outcome, verdict = await self._attempted(job)
            finally:
                self._active -= 1
            ended, job = job, self._next()
            if outcome is None:
                self._done(ended, verdict.state)
                self._made_room()
                continue
            self._desk.counts.note(outcome, verdict)
            if verdict.next is None:
                self._record(ended, outcome, verdict)
            else:
                _run(self._attempts, self._record_with_retry(ended, outcome, verdict), self._ended)

    async def _attempted(self, job: _Job) -> tuple[Outcome | None, Verdict]:
        """What came of it, to be recorded; no outcome where the form does not know such events."""
        event = job.event if job.event is not None else await self._event(job.due)
        if event is None:
            return Outcome(None, EVENT_GONE, 0.0), Verdict(State.DEAD, spared=True)
        try:
            outcome = await self._desk.send(self._desk.latest(self.webhook), event, job.due)
        except Unwritable as error:
            return Outcome(None, str(error), 0.0), Verdict(State.DEAD, spared=True)
        if outcome is None:  # what stands in the ledger needs an end there
            return None if job.is_of_log else Outcome(None, NOT_IN_FORM, 0.0), Verdict(State.DEAD, spared=True)
        return outcome, self._judge(job.due, outcome)

    async def _event(self, due: Due) -> Event | None:
        while True:
            try:
                return await self._desk.post.event(due)
            except LogUnavailable:
                await asyncio.sleep(_RETRY)

    def _judge(self, due: Due, outcome: Outcome) -> Verdict:
        """What the outcome means for the delivery, and for the webhook as a whole."""
        now, webhook, breaker = self._desk.clock(), self.webhook, self._breaker
        verdict = judge(outcome, due.number - due.spared, waits_of(webhook), now=now, chance=self._desk.chance())
        if verdict.pause is not None:
            self._paused_until = max(self._paused_until, verdict.pause)
        if verdict.spared:
            return verdict
        since = breaker.since if breaker.since is not None else now
        change = breaker.succeeded() if verdict.state is State.DELIVERED else breaker.failed(now)
        if verdict.gone:
            self._is_stopped = True
            self._desk.disable(webhook, "the receiver answered 410 Gone", now)
        elif change is Change.GIVEN_UP:
            self._is_stopped = True
            self._desk.disable(webhook, "it failed for five days without a single success", since)
        elif change is Change.SLOWED:
            self._slow_down()
            self._desk.tell(webhook, "slowed", f"{breaker.failures} attempts failed in a row", since)
        elif change is Change.RECOVERED:
            self._desk.tell(webhook, "recovered", "an attempt succeeded", since)
        return verdict

    def _record(self, job: _Job, outcome: Outcome, verdict: Verdict) -> None:
        """Keep the last attempt of a delivery; what waits for it, or for nothing else, has it written at once."""
        attempt = self._attempt_of(job.due, outcome, verdict)
        urgent = job.due.line is not None or not self._active
        self._recorder.add(attempt, functools.partial(self._done, job, verdict.state), urgent=urgent)

    async def _record_with_retry(self, job: _Job, outcome: Outcome, verdict: Verdict) -> None:
        """Keep an attempt together with the one that is to follow, or neither."""
        attempt = self._attempt_of(job.due, outcome, verdict)
        assert attempt.next is not None  # noqa: S101 - it is to be tried again
        later = later_message(self.webhook.id, due_after(job.due, spared=verdict.spared), attempt.next)
        self._recorder.note(await self._desk.store.put_surely([attempts_message(self.webhook.id, [attempt]), later]))
        self._done(job, verdict.state)
        self._made_room()

    def _attempt_of(self, due: Due, outcome: Outcome, verdict: Verdict) -> Attempt:
        return attempt_of(
            due,
            at=int(self._desk.clock() * 1000),
            state=verdict.state,
            status=outcome.status,
            error=outcome.told,
            duration=round(outcome.duration * 1000),
            answer=shown_answer(outcome.answer),
            next=int(verdict.next * 1000) if verdict.next is not None else None,
            counts=not verdict.spared,
        )

    def _done(self, job: _Job, state: State) -> None:
        """A delivery leaves the memory: delivered, kept for later, or given up."""
        self.has_moved = True
        if job.stored is not None:
            self._dues.discard((job.due.delivery, job.due.number))
        elif not job.is_held:
            self._unfinished.pop(job.due.sequence, None)
        if job.due.line is not None:
            self._line_done(job.due.line, state)

    def _made_room(self) -> None:
        self._load_dues()
        if self.is_drained:
            self._space.set()
            self._go_on()
        self._pump()

    # Order: one delivery of a line at a time; behind one that failed the others are held back in the ledger.

    def _line_done(self, line: str, state: State) -> None:
        if state is State.WAITING:
            behind = self._lines.block(line)
            if behind:
                self._hold_back(behind, line)
        elif self._lines.is_blocked(line):
            self._chore(self._next_of_line(line))
        else:
            following = self._lines.leave(line)
            if following is not None:
                self._ready.append(following)

    def _hold_back(self, jobs: list[_Job], line: str) -> None:
        """Note in the ledger that these wait for those before them."""
        self._lines.noting(line)
        at = int(self._desk.clock() * 1000)
        for job in jobs:
            attempt = attempt_of(structs.replace(job.due, number=0), at=at, state=State.HELD)
            is_last = job is jobs[-1]
            kept = functools.partial(self._held_back, job, line, is_last=is_last)
            self._recorder.add(attempt, kept, urgent=is_last)

    def _held_back(self, job: _Job, line: str, *, is_last: bool) -> None:
        self._unfinished.pop(job.due.sequence, None)
        if is_last and self._lines.noted(line):
            self._chore(self._next_of_line(line))

    async def _next_of_line(self, line: str) -> None:
        """Send the first one that is held back in a line; if there is none, the line is free."""
        while self._lines.may_look(line):
            count = self._lines.count(line)
            try:
                await self._desk.ledger.reached(self._recorder.stored)
                due = await self._desk.ledger.held(self.webhook.id, line)
            except LogUnavailable:
                await asyncio.sleep(_RETRY)
                continue
            if due is not None:
                self._ready.append(_Job(due, None, is_held=True))
                self._pump()
                return
            if self._lines.may_look(line) and self._lines.count(line) == count:
                self._lines.free(line)
                return

    def _chore(self, work: Coroutine[Any, Any, None]) -> None:
        if self._is_stopped:
            work.close()
            return
        _run(self._chores, work, self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._attempts.discard(task)
        self._chores.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None and not self._is_stopped:
            _logger.error("a webhook's courier failed", webhook=self.webhook.id, exc_info=error)


def _run(
    tasks: set[asyncio.Task[None]], work: Coroutine[Any, Any, None], ended: Callable[[asyncio.Task[None]], None]
) -> None:
    task = asyncio.get_running_loop().create_task(work)
    tasks.add(task)
    task.add_done_callback(ended)
