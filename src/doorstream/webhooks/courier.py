"""One webhook on its way through the log.

A courier holds a position and a bounded number of deliveries. It follows the log through the hub until so many are
under way that it stops reading; then it stays at its position, and goes on when there is room. A failed delivery leaves
it: it becomes a message that JetStream gives back when it is due (``records.py``), so that it costs nothing meanwhile
and is in nobody's way. Everything up to ``cursor`` is finished: delivered, kept for later, given up or not wanted.

While the breaker is open nothing is read and nothing is kept here but the position; single probes are sent.

=====================  ===============================================================================================
``reader.py``          brings events from the log while there is room, and where it may go on after a crash
                       (``progress.py``)
``dues.py``            brings retries and replays from the ledger
``turns.py``           keeps the order of each door (``order.py``) where the webhook wants it
``pace.py``            says when the next attempt may begin (``breaker.py``)
``recorder.py``        writes what came of attempts
=====================  ===============================================================================================

What they bring is a ``Job`` (``jobs.py``) and waits in one queue. The courier makes the attempts, judges what came of
them (``schedule.py``), and tells the others when a job has left the memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Literal

import structlog

from doorstream.events import Event
from doorstream.events.entities import Webhook
from doorstream.log import LogUnavailable
from doorstream.webhooks.breaker import Change
from doorstream.webhooks.desk import Desk
from doorstream.webhooks.dues import Dues
from doorstream.webhooks.jobs import Job
from doorstream.webhooks.pace import Pace
from doorstream.webhooks.post import Unwritable
from doorstream.webhooks.progress import Progress
from doorstream.webhooks.reader import Reader
from doorstream.webhooks.recorder import Recorder
from doorstream.webhooks.records import (
    Attempt,
    Cursor,
    Due,
    State,
    attempt_of,
    attempts_message,
    due_after,
    later_message,
    shown_answer,
)
from doorstream.webhooks.remembered import remembered
from doorstream.webhooks.schedule import Verdict, judge, waits_of
from doorstream.webhooks.sender import Outcome
from doorstream.webhooks.turns import Turns

_logger = structlog.get_logger(__name__)

GRACE = 2.0
"""Seconds for which attempts under way are waited for when a webhook stops."""

EVENT_GONE = "event gone"
"""The error of a delivery whose event the log no longer has."""

NOT_IN_FORM = "not in this form"
"""The error of a replay of an event that the webhook's form has nothing to say of."""

_DUES = 64
_RETRY = 1.0


class Courier:
    """Delivers to one webhook, from ``start`` until ``stop``."""

    def __init__(self, desk: Desk, webhook: Webhook) -> None:
        self.webhook = webhook
        self.has_moved = False
        self._desk = desk
        self._ready: deque[Job] = deque()
        self._recorder = Recorder(desk.store, webhook.id, self._made_room)
        self._progress = Progress()
        self._reader = Reader(desk, webhook, self._progress, self)
        self._dues = Dues(desk.ledger, self._recorder, webhook.id, self)
        self._turns = Turns(desk.ledger, self._recorder, webhook.id, desk.clock, self)
        self._pace = Pace(desk.alarms, desk.clock, self._pump)
        self._attempts: set[asyncio.Task[None]] = set()
        self._chores: set[asyncio.Task[None]] = set()
        self._is_stopped = False

    # Life.

    async def start(self) -> None:
        """Go on where the ledger says; raises LogUnavailable."""
        before = await remembered(self._desk.ledger, self._desk.log, self.webhook)
        self._progress.begin(before.begin.sequence, before.finished)
        self._pace.breaker = before.breaker
        self._reader.start()
        self._turns.resume(before.lines, is_ordered=self.webhook.ordered)
        self._dues.load()
        self._reader.go_on()

    async def stop(self) -> None:
        """Stop; what does not end in a moment is attempted again by whoever goes on."""
        self._is_stopped = True
        self._reader.close()
        self._pace.close()
        for chore in self._chores:
            chore.cancel()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GRACE):
                while self._attempts:  # one that failed is followed by the task that records it
                    await asyncio.wait(self._attempts)
                await self._recorder.settle()
        left = (*self._attempts, *self._chores)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    def change(self, webhook: Webhook) -> None:
        """Go on with other values."""
        self.webhook = webhook
        self._reader.change(webhook)
        self._pump()

    def has_due(self) -> None:
        """Something fell due."""
        self._dues.expect()

    async def cursor(self) -> Cursor:
        """Everything up to here is finished."""
        reached = self._reader.place
        await asyncio.sleep(0)  # what the hub published in this turn of the loop is written at its end
        await asyncio.sleep(0)
        upto = min(reached.sequence, self._reader.place.sequence)  # it goes back when that was not listened to
        return Cursor(reached.epoch, self._progress.finished_upto(upto))

    def due_floor(self) -> int:
        """Everything that fell due before this place in the stream is attempted, as far as is known here."""
        return self._dues.floor

    @property
    def state(self) -> Literal["enabled", "slowed", "paused"]:
        """How it is doing; see ``engine.STATES``."""
        return self._pace.state

    @property
    def behind(self) -> int:
        """How many events were handed out that it has not looked at yet."""
        return max(self._desk.hub.sequence - self._reader.place.sequence, 0)

    # What comes into memory. These are for the reader, the dues and the turns.

    def take(self, event: Event) -> None:
        """Begin the delivery of an event of the log."""
        self.has_moved = True
        job = Job.of_event(event, self._desk.hub.epoch, self.webhook)
        if self._turns.enter(job):
            self._ready.append(job)
        if self._pace.breaker.open:
            self._reader.deafen()  # one probe at a time

    def taken(self) -> None:
        """Begin with what was taken."""
        self._pump()

    def may_read(self) -> bool:
        """Whether events are wanted: while the breaker is open, only where nothing else is there to probe with."""
        if self._is_stopped:
            return False
        return not (self._pace.breaker.open and (self._ready or self._pace.active or self._dues.is_loading))

    def may_load(self) -> int:
        """How many dues may be asked for: while the breaker is open, one to probe with."""
        if self._is_stopped:
            return 0
        if self._pace.breaker.open:
            return 0 if self._ready or self._pace.active else 1
        return _DUES if len(self._dues) < _DUES else 0

    def load(self, job: Job) -> None:
        """Have one that fell due."""
        self._ready.append(job)

    def loaded(self) -> None:
        """Begin with what was loaded."""
        self._pump()
        self._reader.go_on()

    def let_go(self, job: Job) -> None:
        """Send one that was held back."""
        self._ready.append(job)
        self._pump()

    def held_back(self, job: Job) -> None:
        """The ledger has one that is held back: that is all for the log."""
        self._progress.finish(job.due.sequence)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Have it run until this is stopped."""
        if self._is_stopped:
            work.close()
            return
        _run(self._chores, work, self._ended)

    # Sending.

    def _pump(self) -> None:
        """Begin as many attempts as may be under way now."""
        while (job := self._next()) is not None:
            _run(self._attempts, self._work(job), self._ended)

    def _next(self) -> Job | None:
        """The next delivery, if it may begin now; it counts as under way."""
        if not self._ready or self._is_stopped or not self._pace.begin(self.webhook):
            return None
        return self._ready.popleft()

    async def _work(self, job: Job | None) -> None:
        """Make one attempt after the other, for as long as there are some that may begin."""
        while job is not None:
            try:
                outcome, verdict = await self._attempted(job)
            finally:
                self._pace.end()
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

    async def _attempted(self, job: Job) -> tuple[Outcome | None, Verdict]:
        """What came of it, to be recorded; no outcome where the form does not know such events."""
        event = job.event if job.event is not None else await self._event(job.due)
        if event is None:
            return Outcome(None, EVENT_GONE, 0.0), Verdict(State.DEAD, spared=True)
        asked = self._desk.latest(self.webhook)
        try:
            outcome = await self._desk.send(asked, event, job.due)
        except Unwritable as error:
            return Outcome(None, str(error), 0.0), Verdict(State.DEAD, spared=True)
        if outcome is None:  # what stands in the ledger needs an end there
            return None if job.is_of_log else Outcome(None, NOT_IN_FORM, 0.0), Verdict(State.DEAD, spared=True)
        return outcome, self._judge(job.due, outcome, asked)

    async def _event(self, due: Due) -> Event | None:
        while True:
            try:
                return await self._desk.post.event(due)
            except LogUnavailable:
                await asyncio.sleep(_RETRY)

    def _judge(self, due: Due, outcome: Outcome, asked: Webhook) -> Verdict:
        """What the outcome means for the delivery, and for the webhook as a whole, which was so when it was sent."""
        now, webhook, breaker = self._desk.clock(), self.webhook, self._pace.breaker
        verdict = judge(
            outcome,
            due.number - due.spared,
            waits_of(webhook),
            now=now,
            chance=self._desk.chance(),
            moved=asked.url != self._desk.latest(webhook).url,
        )
        if verdict.pause is not None:
            self._pace.pause(verdict.pause)
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

    def _slow_down(self) -> None:
        """Keep one delivery to probe with, and the position; the log and the ledger bring the others again."""
        waiting = tuple(self._ready)
        probe = next((job for job in waiting if job.is_of_log), None)
        self._ready.clear()
        self._ready.extend(job for job in waiting if job is probe or job.is_held)
        dropped = [job for job in waiting if job.is_of_log and job is not probe]
        dropped += self._turns.drop(dropped)
        self._reader.put_back([job.due.sequence for job in dropped])
        self._dues.begin_anew([job.due for job in waiting if job.stored is not None])

    # What leaves the memory.

    def _record(self, job: Job, outcome: Outcome, verdict: Verdict) -> None:
        """Keep the last attempt of a delivery; what waits for it, or for nothing else, has it written at once."""
        attempt = self._attempt_of(job.due, outcome, verdict)
        urgent = job.due.line is not None or not self._pace.active
        self._recorder.add(attempt, functools.partial(self._done, job, verdict.state), urgent=urgent)

    async def _record_with_retry(self, job: Job, outcome: Outcome, verdict: Verdict) -> None:
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

    def _done(self, job: Job, state: State) -> None:
        """A delivery leaves the memory: delivered, kept for later, or given up."""
        self.has_moved = True
        if job.stored is not None:
            self._dues.done(job.due)
        elif not job.is_held:
            self._progress.finish(job.due.sequence)
        if job.due.line is not None and (following := self._turns.done(job.due.line, state)) is not None:
            self._ready.append(following)

    def _made_room(self) -> None:
        self._dues.load()
        self._reader.made_room()
        self._pump()

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
