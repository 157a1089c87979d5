"""Webhooks as the rest of a worker sees them: opened with the worker, asked by its routes."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from doorstream.directory import Directory, NotFound, uuid7
from doorstream.directory.webhook_rules import check_webhook
from doorstream.events import Event, Position
from doorstream.events.entities import SigningSecret, Webhook
from doorstream.events.event import encode_kept
from doorstream.ingest import Ingest
from doorstream.live import Alarms, Hub
from doorstream.log import Connection, EventLog
from doorstream.webhooks import handshake, questions, signing
from doorstream.webhooks.engine import Engine
from doorstream.webhooks.forms import Form
from doorstream.webhooks.guard import Policy, check_url
from doorstream.webhooks.ledger import Ledger
from doorstream.webhooks.post import PDK_VERSION, Post
from doorstream.webhooks.questions import AttemptRow, Delivery, Wanted
from doorstream.webhooks.records import (
    Due,
    State,
    attempt_of,
    attempts_message,
    delivery_id,
    due_message,
    message_id,
    shown_answer,
)
from doorstream.webhooks.sender import Outcome, Sender
from doorstream.webhooks.store import Store

VERSIONS = ("v1", "v1a")
"""The signatures of Standard Webhooks that can be asked for."""

LEDGER_AGE = 30 * 86_400.0
"""Seconds for which attempts are kept by default."""

MAX_REPLAY = 10_000
"""Deliveries that one call replays at most."""

TEST_TOPIC = "x.webhook.test"
_TEST_TOPICS = (TEST_TOPIC, "device.request.allowed")
_TEST_DEVICE = {"id": "test-door", "name": "Test door", "connection": None, "port": None}
_TEST_HOLDER = {
    "id": "test-holder",
    "name": "Test Holder",
    "enabled": True,
    "activeDate": None,
    "expireDate": None,
}


class Tested(NamedTuple):
    """How a test delivery ended."""

    delivery: str
    topic: str
    outcome: Outcome


class Replayed(NamedTuple):
    """A replay: its id, how many deliveries it is, and where to go on if there are more than one call takes."""

    replay: str
    deliveries: int
    next: int | None = None


class Service:
    """Webhooks in one worker. ``engine`` is None in workers that do not deliver."""

    def __init__(  # noqa: PLR0913 - made by ``open`` only
        self,
        *,
        directory: Directory,
        log: EventLog,
        store: Store,
        ledger: Ledger,
        post: Post,
        sender: Sender,
        policy: Policy,
        origin: str,
        clock: Callable[[], float],
        engine: Engine | None,
    ) -> None:
        self.ledger = ledger
        self.engine = engine
        self._directory = directory
        self._log = log
        self._store = store
        self._post = post
        self._sender = sender
        self._policy = policy
        self._origin = origin
        self._clock = clock

    @classmethod
    @contextlib.asynccontextmanager
    async def open(  # noqa: PLR0913 - the parts of a worker, each by its name
        cls,
        *,
        path: Path,
        connection: Connection,
        directory: Directory,
        log: EventLog,
        hub: Hub,
        alarms: Alarms,
        ingest: Ingest,
        forms: Mapping[str, Form],
        policy: Policy,
        delivers: bool,
        clock: Callable[[], float],
        chance: Callable[[], float] = random.random,
        ledger_age: float = LEDGER_AGE,
        proxy: str | None = None,
        sender: Sender | None = None,
        origin: str = "localhost",
    ) -> AsyncIterator[Service]:
        """Open everything; ``path`` is the ledger's file, ``delivers`` is for one worker only.

        ``origin`` is the host name that receivers are told when they are asked for their agreement.
        Raises ApiError, LogUnavailable, or sqlite3.Error for a ledger that cannot be made.
        """
        async with contextlib.AsyncExitStack() as exits:
            store = Store(connection, age=ledger_age)
            await store.open()
            exits.push_async_callback(store.close)
            ledger = Ledger(path, store)
            await ledger.start()
            exits.push_async_callback(ledger.stop)
            sender = sender if sender is not None else Sender(policy, proxy=proxy, now=clock)
            exits.push_async_callback(sender.close)
            post = Post(sender, forms, directory.site, log, clock, origin=origin)
            engine = None
            if delivers:
                engine = Engine(
                    hub=hub,
                    log=log,
                    store=store,
                    ledger=ledger,
                    alarms=alarms,
                    post=post,
                    directory=directory,
                    ingest=ingest,
                    clock=clock,
                    chance=chance,
                )
                starting = asyncio.create_task(engine.start(), name="webhooks")  # a ledger may take long to be built
                exits.push_async_callback(engine.stop)
                exits.push_async_callback(_ended, starting)
            yield cls(
                directory=directory,
                log=log,
                store=store,
                ledger=ledger,
                post=post,
                sender=sender,
                policy=policy,
                origin=origin,
                clock=clock,
                engine=engine,
            )

    def check_url(self, url: str) -> None:
        """Raise BadUrl for an address that may not be asked."""
        check_url(url, self._policy)

    async def ask(self, webhook: Webhook) -> handshake.Agreement:
        """Ask the receiver of a webhook whether it wants its deliveries; raises InvalidEntity or NotAgreed."""
        check_webhook(webhook, self._directory)  # nobody is asked about what cannot be kept
        outcome = await self._sender.send(handshake.question(webhook, self._origin))
        return handshake.agreement(webhook, outcome, self._origin)

    async def here(self) -> str:
        """The place in the log after which the events of a webhook made now begin; raises LogUnavailable."""
        return str(Position(self._log.epoch, (await self._log.extent()).last))

    async def test(self, webhook: Webhook) -> Tested:
        """Send an event that is not kept anywhere, now, and note it in the ledger; raises LogUnavailable."""
        event = self._test_event(webhook)
        due = Due(
            f"test-{event.id}", self._log.epoch, 0, event.id, webhook.site_id, event.topic, message_id(event, webhook)
        )
        outcome = await self._post.send(webhook, event, due)
        assert outcome is not None  # noqa: S101 - the event was chosen so
        attempt = attempt_of(
            due,
            at=int(self._clock() * 1000),
            state=State.DELIVERED if outcome.delivered else State.DEAD,
            status=outcome.status,
            error=outcome.told,
            duration=round(outcome.duration * 1000),
            answer=shown_answer(outcome.answer),
            test=True,
        )
        await self._store.put([attempts_message(webhook.id, [attempt])])
        return Tested(due.delivery, event.topic, outcome)

    async def deliveries(self, wanted: Wanted, limit: int) -> list[Delivery]:
        """Some deliveries, those that began last first; raises LogUnavailable."""
        await self.ledger.current()
        return await self.ledger.ask(questions.deliveries, wanted, limit)

    async def delivery(self, webhook: Webhook, delivery: str) -> tuple[Delivery, list[AttemptRow]]:
        """One delivery and its attempts; raises NotFound or LogUnavailable."""
        await self.ledger.current()
        found = await self.ledger.ask(questions.delivery, webhook.id, delivery)
        if found is None:
            raise NotFound("delivery", delivery)
        return found, await self.ledger.ask(questions.attempts, webhook.id, delivery)

    async def replay(self, target: Webhook, wanted: Wanted) -> Replayed:
        """Deliver again, to that webhook, what the ledger has of a range; raises LogUnavailable or StorageFull."""
        await self.ledger.current()
        found = await self.ledger.ask(questions.replayable, wanted, MAX_REPLAY)
        replay = uuid7()
        sites = {target.site_id, *target.sites}
        chosen = [each for each in found if each.site in sites]
        await self._store.put_many([due_message(target.id, _replayed(each, replay)) for each in chosen])
        return Replayed(replay, len(chosen), found[-1].first if len(found) == MAX_REPLAY else None)

    async def replay_one(self, webhook: Webhook, target: Webhook, delivery: str) -> Replayed:
        """Deliver one delivery again; raises NotFound, LogUnavailable or StorageFull."""
        found, _ = await self.delivery(webhook, delivery)
        if found.test or found.site not in {target.site_id, *target.sites}:
            raise NotFound("delivery of an event that this webhook may get", delivery)
        replay = uuid7()
        await self._store.put([due_message(target.id, _replayed(found, replay))])
        return Replayed(replay, 1)

    def _test_event(self, webhook: Webhook) -> Event:
        now = int(self._clock() * 1000)
        body: dict[str, object] = {"webhookId": webhook.id, "name": webhook.name}
        for topic in _TEST_TOPICS:
            json = encode_kept(
                id=uuid7(),
                topic=topic,
                site_id=webhook.site_id,
                occurred=now,
                body=body,
                cloud_node={"id": "test-node", "serialNumber": None, "name": "Test node"},
                metadata={"test": True},
            )
            event = Event(json, 0, now)
            if self._post.payload(webhook, event) is not None:
                break
            body = {
                "deviceId": _TEST_DEVICE["id"],
                "device": _TEST_DEVICE,
                "holderId": _TEST_HOLDER["id"],
                "holder": _TEST_HOLDER,
                "requestFactor": "CARD_ONLY",
                "cardNumber": "0",
                "facilityCode": "0",
            }
        return event


def make_secret(version: str, created: str, given: str | None = None) -> SigningSecret:
    """A new signing secret of that version, or the one that was given; raises BadSecret."""
    if version == PDK_VERSION:
        return SigningSecret(version=version, created=created, value=given or signing.new_secret())
    if given is not None:
        signing.check_secret(given)
    if version == "v1a":
        private = given if given is not None else signing.new_key_pair()[0]
        return SigningSecret(version=version, created=created, value=private, public_key=signing.public_key(private))
    return SigningSecret(version=version, created=created, value=given if given is not None else signing.new_secret())


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _replayed(found: Delivery, replay: str) -> Due:
    return Due(
        delivery_id(found.epoch, found.sequence, replay),
        found.epoch,
        found.sequence,
        found.event,
        found.site,
        found.topic,
        found.message,
        device=found.device,
        replay=replay,
    )
