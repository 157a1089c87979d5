"""Who and what exists: questions are answered from memory at once, changes are durable when they return."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar, cast

import uuid_utils

from doorstream.directory import rules
from doorstream.directory.changes import Plan, Planner, Step
from doorstream.directory.cloud_node_events import SYSTEM, Actor
from doorstream.directory.deletion import deletion
from doorstream.directory.errors import AlreadyExists, Conflict, InvalidEntity, NotFound
from doorstream.directory.keys import KINDS, key_for, key_of, kind_of
from doorstream.directory.mirror import Mirror, OnChange
from doorstream.directory.outbox import Emit, Outbox
from doorstream.directory.site import SiteView
from doorstream.directory.store import Store
from doorstream.directory.table import Table
from doorstream.events.entities import Client, Entity, KeyRing, Owned, Secret, Site, User, Webhook
from doorstream.events.event import iso_utc
from doorstream.log import MAX_BATCH, LogUnavailable
from doorstream.log import Connection as LogConnection

E = TypeVar("E", bound=Entity)

_ATTEMPTS = 8
_USER_CHANGES = 3  # a user, the new name, the old name; any other step is one change
_TELLING_PATIENCE = 5.0
_ORDER = {kind: at for at, kind in enumerate(KINDS)}


def uuid7() -> str:
    """A new id that sorts by time."""
    return str(uuid_utils.uuid7())


class Wanted(NamedTuple):
    """What ``put_all`` is to bring about: the key of an entity, and from its present state (or None) the wanted one.

    ``where`` is its place in what the caller reads from, for messages.
    """

    key: str
    update: Callable[[Entity | None], Entity]
    where: str = ""


class Directory:
    """The directory of all sites.

    Every change is checked, durable and visible here when it returns. It raises InvalidEntity, NotFound,
    AlreadyExists, Conflict, StorageFull, or LogUnavailable (nothing is known: it may have happened).
    """

    def __init__(
        self,
        connection: LogConnection,
        *,
        clock: Callable[[], float] = time.time,
        new_id: Callable[[], str] = uuid7,
    ) -> None:
        """``clock`` gives unix seconds, ``new_id`` a fresh unique id."""
        self._mirror = Mirror()
        self._store = Store(connection, self._mirror)
        self._outbox = Outbox(self._store, self._mirror)
        self._clock = clock
        self._planner = Planner(self._mirror, clock, new_id)
        self.new_id = new_id

    async def open(self) -> None:
        """Read everything into memory; raises ApiError or LogUnavailable."""
        await self._store.open()

    def start_telling(self, emit: Emit) -> None:
        """Begin to put the events of changes into the log, those left over from before first."""
        self._outbox.start(emit)

    async def close(self) -> None:
        """Stop."""
        await self._outbox.stop()
        await self._store.close()

    def on_change(self, callback: OnChange) -> None:
        """Have ``callback(kind, before, after)`` called after each change, whichever process made it."""
        self._mirror.on_change(callback)

    def now(self) -> str:
        """The present as ``created`` fields have it."""
        return iso_utc(int(self._clock() * 1000))

    @property
    def sites(self) -> Table[Site]:
        """All sites."""
        return self._mirror.sites

    @property
    def clients(self) -> Table[Client]:
        """All clients."""
        return self._mirror.clients

    @property
    def users(self) -> Table[User]:
        """All users."""
        return self._mirror.users

    @property
    def webhooks(self) -> list[Webhook]:
        """The webhooks of all sites."""
        return self._mirror.webhooks

    def site(self, site_id: str) -> SiteView | None:
        """One site and all that belongs to it, or None."""
        return self._mirror.site(site_id)

    def revision(self, kind: str, site_id: str) -> int:
        """A number that grows with each change of a site's entities of that kind, and is the same in every process."""
        return self._mirror.revision(kind, site_id)

    def user_named(self, username: str) -> User | None:
        """The user who signs in with that name, in whatever case, or None."""
        return self._mirror.user_named(username)

    def secret(self, name: str) -> Secret | None:
        """A secret that this installation made for itself."""
        return self._mirror.secrets.get(name)

    def key_ring(self, name: str) -> KeyRing | None:
        """A ring of signing keys."""
        return self._mirror.key_rings.get(name)

    async def create(self, entity: E, by: Actor) -> E:
        """Add one and return it as it is kept; raises AlreadyExists when its id or its user name is taken."""

        def update(old: Entity | None) -> Entity:
            if old is not None:
                raise AlreadyExists(kind_of(entity), entity.id)
            return entity

        made = cast("E", (await self._run([Step(key_of(entity), update)], by)).results[0])
        try:
            self._check_kept(made)
        except (InvalidEntity, NotFound):  # what it belongs to was deleted at the same time, before it was kept
            await self._run([Step(key_of(made), lambda old: None if old == made else old)], by)
            raise
        return made

    def _check_kept(self, entity: Entity) -> None:
        if isinstance(entity, Owned) and self._mirror.site(entity.site_id) is None:
            raise NotFound("site", entity.site_id)
        rules.check(entity, self._mirror)

    async def change(self, current: E, update: Callable[[E], E], by: Actor) -> E:
        """Change what ``current`` names and return it.

        ``update`` gets the newest state and may be called again when somebody else was faster. It keeps id and site.
        """

        def step(old: Entity | None) -> Entity:
            if old is None:
                raise NotFound(kind_of(current), current.id)
            return update(cast("E", old))

        return cast("E", (await self._run([Step(key_of(current), step)], by)).results[0])

    async def delete(self, entity: Entity, by: Actor) -> None:
        """Remove it and what belongs to it: a site's everything, a cloud node's connections, a connection's devices.

        What is deleted together is gone at once as long as it is 1,000 entities; more goes in several batches, what
        belongs to others first. A site goes after the events of its cloud nodes' deletion are kept.
        """
        if self._mirror.entry(key_of(entity)).entity is None:
            raise NotFound(kind_of(entity), entity.id)
        steps = deletion(self._mirror, entity)
        if not isinstance(entity, Site):
            await self._run([*steps, _gone(entity)], by)
        else:
            await self._run(steps, by)
            if any(self._mirror.entry(step.key).pending for step in steps) and self._outbox.is_running:
                raise LogUnavailable("the deletion of the site's cloud nodes cannot be told yet: try again")
            await self._run([_gone(entity)], by)
        await self._run(deletion(self._mirror, entity), by)  # what others added meanwhile

    async def put_all(self, wanted: Iterable[Entity | Wanted], by: Actor = SYSTEM) -> int:
        """Create or change many; returns how many differed.

        An entity is created where it is missing and left alone where it is not; a ``Wanted`` says what becomes of what
        is there. Kind by kind, so that what others refer to comes first, in atomic batches. What is as wanted already
        costs nothing.
        """
        by_kind: dict[str, list[Step]] = {}
        for want in wanted:
            step = Step(*want) if isinstance(want, Wanted) else _present(want)
            by_kind.setdefault(step.key.partition(".")[0], []).append(step)
        return sum([(await self._run(by_kind[kind], by)).differing for kind in sorted(by_kind, key=_ORDER.__getitem__)])

    async def ensure_secret(self, secret: Secret) -> Secret:
        """Keep the secret unless there is one of that name already; returns the one that counts."""
        step = Step(key_for("secret", secret.id), lambda old: old or secret)
        return cast("Secret", (await self._run([step], SYSTEM)).results[0])

    async def change_key_ring(self, name: str, update: Callable[[KeyRing | None], KeyRing]) -> KeyRing:
        """Change a key ring as a whole; ``update`` may be called again when another process was faster."""
        step = Step(key_for("key-ring", name), lambda old: update(cast("KeyRing | None", old)))
        return cast("KeyRing", (await self._run([step], SYSTEM)).results[0])

    async def _run(self, steps: Sequence[Step], by: Actor) -> Plan:
        """Bring the steps about, up to 1,000 changes in one atomic batch; returns what they led to."""
        done = Plan([], [], 0)
        for batch in _batches(steps):
            plan = await self._run_batch(batch, by)
            done.changes.extend(plan.changes)
            done.results.extend(plan.results)
            done = done._replace(differing=done.differing + plan.differing)
        for change in done.changes:
            await self._outbox.told(change.key, _TELLING_PATIENCE)
        return done

    async def _run_batch(self, steps: Sequence[Step], by: Actor) -> Plan:
        for _ in range(_ATTEMPTS):
            plan = self._planner.plan(steps, by)
            try:
                await self._store.write(plan.changes)
            except Conflict:
                await self._store.catch_up()
            else:
                return plan
        raise Conflict


def _present(entity: Entity) -> Step:
    return Step(key_of(entity), lambda old: old if old is not None else entity)


def _gone(entity: Entity) -> Step:
    return Step(key_of(entity), lambda _: None)


def _batches(steps: Sequence[Step]) -> Iterator[list[Step]]:
    """The steps in groups that fit into one atomic batch."""
    batch: list[Step] = []
    size = 0
    for step in steps:
        changes = _USER_CHANGES if step.key.startswith("user.") else 1
        if size + changes > MAX_BATCH:
            yield batch
            batch, size = [], 0
        batch.append(step)
        size += changes
    if batch:
        yield batch
