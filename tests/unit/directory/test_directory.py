"""The directory on a real nats-server."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest
from nats.js.errors import KeyNotFoundError

from doorstream.directory import (
    SYSTEM,
    Actor,
    AlreadyExists,
    Conflict,
    Directory,
    InvalidEntity,
    NotFound,
    Wanted,
)
from doorstream.directory.keys import key_of
from doorstream.events.entities import (
    Client,
    CloudNode,
    Connection,
    Device,
    Holder,
    Secret,
    Site,
    User,
)
from doorstream.log import Connection as LogConnection
from doorstream.log import LogUnavailable
from doorstream.testing import until

SITE = "0738b8df-329a-4d50-88e7-7a48928c4d6f"
OTHER = "0738b8df-329a-4d50-88e7-7a48928c4d70"
CREATED = "2026-01-31T10:00:00.000Z"
BY = Actor("0190-client", "Panel app")


class Told:
    """Stands for ingest: keeps the first event of each id."""

    def __init__(self) -> None:
        self.events: dict[str, dict[str, Any]] = {}
        self.calls = 0
        self.failing = False

    async def __call__(self, site_id: str, event: dict[str, Any]) -> None:
        await asyncio.sleep(0)
        self.calls += 1
        if self.failing:
            raise LogUnavailable("NATS is away")
        self.events.setdefault(f"{site_id}/{event['id']}", event)

    @property
    def topics(self) -> list[str]:
        return [event["topic"] for event in self.events.values()]


@pytest.fixture
async def directory(connection: LogConnection):
    directory = Directory(connection, clock=lambda: 1_769_853_600.0)
    await directory.open()
    yield directory
    await directory.close()


async def another(connection: LogConnection) -> Directory:
    """Another process on the same log."""
    directory = Directory(connection)
    await directory.open()
    return directory


def site(**fields: Any) -> Site:
    return Site(**{"id": SITE, "name": "Harbour House", "created": CREATED} | fields)


def node(**fields: Any) -> CloudNode:
    given = {"id": "n1", "site_id": SITE, "name": "North", "serial_number": "1234ABC", "created": CREATED}
    return CloudNode(**given | fields)


def controller(**fields: Any) -> Connection:
    given = {"id": "c1", "site_id": SITE, "name": "Yard", "cloud_node_id": "n1", "created": CREATED}
    return Connection(**given | fields)


def door(**fields: Any) -> Device:
    given = {"id": "d1", "site_id": SITE, "name": "Main", "connection_id": "c1", "port": 1, "created": CREATED}
    return Device(**given | fields)


def holder(**fields: Any) -> Holder:
    given = {"id": "h1", "site_id": SITE, "first_name": "Ada", "last_name": "Park", "created": CREATED}
    return Holder(**given | fields)


def user(**fields: Any) -> User:
    return User(
        **{"id": "u1", "username": "ada@example.com", "name": "Ada", "created": CREATED, "generation": "1"} | fields
    )


def client(**fields: Any) -> Client:
    given = {"id": "k1", "name": "App", "scopes": ("pdk",), "sites": (SITE,), "created": CREATED, "generation": "1"}
    return Client(**given | {"secret_hash": "00"} | fields)


async def populate(directory: Directory) -> None:
    for entity in (site(), node(), controller(), door(), holder()):
        await directory.create(entity, BY)


async def test_a_write_is_visible_when_it_returns(directory):
    """Read your writes: the mirror has the change before the caller goes on."""
    await directory.create(site(), BY)
    assert directory.site(SITE).site == site()
    renamed = await directory.change(site(), lambda old: replace(old, name="Pier House"), BY)
    assert directory.site(SITE).site is renamed or directory.site(SITE).site == renamed
    await directory.delete(site(), BY)
    assert directory.site(SITE) is None


async def test_another_process_sees_the_change(directory, connection):
    other = await another(connection)
    await populate(directory)
    await other._store.catch_up()
    assert other.site(SITE).devices.get("d1") == replace(door(), cloud_node_id="n1")
    await other.close()


async def test_a_new_process_reads_what_is_there(directory, connection):
    """Also where what belongs to a site was written before the site's newest record."""
    await populate(directory)
    await directory.change(site(), lambda old: replace(old, name="Pier House"), BY)
    await directory.delete(holder(), BY)
    other = await another(connection)
    assert other.site(SITE).site.name == "Pier House"
    assert [device.id for device in other.site(SITE).devices] == ["d1"]
    assert len(other.site(SITE).holders) == 0
    await other.close()


async def test_names_for_events(directory):
    await populate(directory)
    view = directory.site(SITE)
    assert view.device_ref("d1").name == "Main"
    assert view.device_ref("d1").connection == "c1"
    assert view.holder_ref("h1").name == "Ada Park"
    assert view.cloud_node_ref(cloud_node_id=None, device_id="d1").serialNumber == "1234ABC"
    assert view.cloud_node_ref(cloud_node_id="n1", device_id=None).name == "North"
    assert view.device_ref("nobody") is view.holder_ref("nobody") is None
    await directory.change(door(), lambda old: replace(old, name="Gate"), BY)
    assert view.device_ref("d1").name == "Gate"


async def test_two_processes_cannot_create_the_same(directory, connection):
    """Compare-and-set: the second one is refused even if its mirror has not seen the first yet."""
    other = await another(connection)
    results = await asyncio.gather(
        *(each.create(site(name=str(at)), BY) for at, each in enumerate((directory, other))), return_exceptions=True
    )
    assert sorted(type(result).__name__ for result in results) == ["AlreadyExists", "Site"]
    await other.close()


async def test_concurrent_changes_lose_nothing(directory, connection):
    """Forty changes of one record from two processes are all in the end result."""
    other = await another(connection)
    await directory.create(site(description=""), BY)

    async def add(where: Directory) -> None:
        for _ in range(20):
            while True:
                try:
                    await where.change(site(), lambda old: replace(old, description=old.description + "x"), BY)
                except (Conflict, NotFound):
                    await asyncio.sleep(0)  # it may not be here yet, and comes while others have their turn
                    continue
                break

    await asyncio.gather(add(directory), add(other))
    await directory._store.catch_up()
    assert directory.site(SITE).site.description == "x" * 40
    await other.close()


async def test_a_deleted_id_can_be_used_again(directory):
    await directory.create(site(), BY)
    await directory.delete(site(), BY)
    await directory.create(site(name="Second"), BY)
    assert directory.site(SITE).site.name == "Second"


async def test_what_does_not_exist(directory):
    await directory.create(site(), BY)
    with pytest.raises(NotFound):
        await directory.change(node(), lambda old: old, BY)
    with pytest.raises(NotFound):
        await directory.delete(node(), BY)
    with pytest.raises(InvalidEntity, match="cloud_node_id"):
        await directory.create(controller(), BY)
    with pytest.raises(AlreadyExists):
        await directory.create(site(), BY)


async def test_deleting_a_site_takes_everything_along(directory, connection):
    await populate(directory)
    await directory.create(site(id=OTHER), BY)
    await directory.create(node(site_id=OTHER), BY)
    await directory.create(user(roles={SITE: "site_admin", OTHER: "site_user"}, holder_ids={SITE: "h1"}), BY)
    await directory.create(client(sites=(SITE, OTHER)), BY)
    await directory.delete(site(), BY)
    assert directory.site(SITE) is None
    assert directory.users.get("u1").roles == {OTHER: "site_user"}
    assert directory.users.get("u1").holder_ids == {}
    assert directory.clients.get("k1").sites == (OTHER,)
    other = await another(connection)
    assert other.site(SITE) is None
    assert len(other.site(OTHER).cloud_nodes) == 1
    await other.close()


async def test_deleting_a_cloud_node_takes_its_controllers_and_doors_along(directory):
    await populate(directory)
    await directory.create(door(id="d2", connection_id=None, cloud_node_id=None), BY)
    await directory.delete(node(), BY)
    view = directory.site(SITE)
    assert len(view.connections) == 0
    assert [device.id for device in view.devices] == ["d2"]


@pytest.mark.parametrize("is_first", [True, False])
async def test_what_is_added_to_something_while_that_is_deleted(directory, is_first):
    """Each was judged before the other was known: a door stayed that belonged to nothing and could not be changed."""
    for entity in (site(), node(), controller()):
        await directory.create(entity, BY)
    adding, deleting = directory.create(door(), BY), directory.delete(controller(), BY)
    both = (adding, deleting) if is_first else (deleting, adding)
    results = await asyncio.gather(*both, return_exceptions=True)
    assert isinstance(results[0 if is_first else 1], Device | InvalidEntity)

    view = directory.site(SITE)
    assert view.connections.get("c1") is None
    assert view.devices.get("d1") is None


@pytest.mark.parametrize("is_first", [True, False])
async def test_what_is_added_to_a_site_while_that_is_deleted(directory, connection, is_first):
    """A person stayed who belonged to no site, and would have been of the next one with that id.

    Several at once, and from another process, so that they come before, within and after the steps of the deletion.
    """
    await directory.create(site(), BY)
    other = await another(connection)
    adding = [each.create(holder(id=f"h{n}"), BY) for n, each in enumerate([directory, other] * 10)]
    both = [*adding, directory.delete(site(), BY)] if is_first else [directory.delete(site(), BY), *adding]
    results = await asyncio.gather(*both, return_exceptions=True)
    assert [each for each in results if not isinstance(each, Holder | NotFound | None)] == []
    assert directory.site(SITE) is None
    last = await directory.create(site(id=OTHER), BY)  # by then both have everything that was written before
    await until(lambda: other.site(last.id) is not None)
    for each in (directory, other):
        assert each._mirror.owned_by(SITE) == []
    await other.close()


async def test_a_door_and_its_controller_belong_to_one_cloud_node(directory):
    await populate(directory)
    await directory.create(node(id="n2"), BY)
    with pytest.raises(InvalidEntity, match="another cloud node"):
        await directory.change(door(), lambda old: replace(old, cloud_node_id="n2"), BY)
    with pytest.raises(InvalidEntity, match="another cloud node"):
        await directory.change(controller(), lambda old: replace(old, cloud_node_id="n2"), BY)
    await directory.delete(door(), BY)
    moved = await directory.change(controller(), lambda old: replace(old, cloud_node_id="n2"), BY)
    assert (await directory.create(door(), BY)).cloud_node_id == moved.cloud_node_id == "n2"


async def test_user_names_are_unique_in_any_case(directory, connection):
    await directory.create(user(), BY)
    with pytest.raises(AlreadyExists):
        await directory.create(user(id="u2", username="ADA@example.com"), BY)
    await directory.change(user(), lambda old: replace(old, username="ada@example.org"), BY)
    assert directory.user_named("ada@example.com") is None
    assert directory.user_named("Ada@Example.org").id == "u1"
    await directory.create(user(id="u2"), BY)
    await directory.delete(user(id="u2"), BY)
    other = await another(connection)
    assert other.user_named("ada@example.com") is None
    assert other.user_named("ada@example.org").id == "u1"
    await other.close()


async def test_user_names_are_unique_among_those_who_come_at_one_time(directory):
    """Each is three writes; those of all went as one batch, which was refused whole as often as it was tried."""
    wanted = [user(id=f"u{n}", username=f"name{n // 2}@example.com") for n in range(6)]
    results = await asyncio.gather(*(directory.create(each, BY) for each in wanted), return_exceptions=True)

    assert [type(result).__name__ for result in results] == ["User", "AlreadyExists"] * 3


async def test_foreign_ids_become_keys(directory, connection):
    """NATS refuses keys with @, dots at an end, or spaces: ids are encoded before they become keys (spikes.md 5)."""
    await directory.create(site(), BY)
    for entity_id in ("ada@example.com", ".dots.", "a=b", "a~+:b", "=2E"):
        await directory.create(holder(id=entity_id), BY)
    other = await another(connection)
    assert {each.id for each in other.site(SITE).holders} == {"ada@example.com", ".dots.", "a=b", "a~+:b", "=2E"}
    await other.close()


async def test_nats_kv_can_read_the_bucket(directory, connection):
    """The stream is a NATS KV bucket: its own tools show it."""
    await populate(directory)
    bucket = await connection.client.jetstream().key_value("doorstream")
    entry = await bucket.get(key_of(door()))
    assert json.loads(entry.value)["name"] == "Main"
    await directory.delete(door(), BY)
    with pytest.raises(KeyNotFoundError):
        await bucket.get(key_of(door()))


async def test_listeners_hear_before_and_after(directory):
    heard: list[Any] = []

    def broken(*_: Any) -> None:
        raise RuntimeError("a listener's mistake")

    directory.on_change(broken)
    directory.on_change(lambda kind, old, new: heard.append((kind, old and old.name, new and new.name)))
    await directory.create(site(), BY)
    await directory.change(site(), lambda old: replace(old, name="Pier"), BY)
    await directory.change(site(), lambda old: old, BY)
    await directory.delete(site(), BY)
    assert heard == [("site", None, "Harbour House"), ("site", "Harbour House", "Pier"), ("site", "Pier", None)]


async def test_many_at_once_and_again(directory, connection):
    """A bulk import is atomic batches; a second run finds nothing to do."""

    def wanted() -> list[Wanted]:
        people = [holder(id=f"h{number}", last_name=f"{number:05}") for number in range(2500)]
        return [Wanted(key_of(each), lambda _, each=each: each) for each in people] + [
            Wanted(key_of(site()), lambda _: site())
        ]

    assert await directory.put_all(wanted()) == 2501
    assert await directory.put_all(wanted()) == 0
    page = directory.site(SITE).holders.page(limit=3, name="002")
    assert [each.last_name for each in page.items] == ["00002", "00020", "00021"]
    assert [each.last_name for each in directory.site(SITE).holders.page(limit=2, after=page.next).items] == [
        "00022",
        "00023",
    ]
    await directory.delete(site(), BY)
    assert (await another(connection)).site(SITE) is None


async def test_a_stop_that_comes_together_with_an_answer(directory):
    """The answer swallowed the cancellation: the outbox, which was to stop, waited for more to tell, for ever."""
    store = directory._store
    following = store._applied + 1
    waiting = asyncio.create_task(store._wait_for(following))
    await asyncio.sleep(0)
    store._receive("unknown.a", b"{}", following)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_one_secret_for_all_processes(directory, connection):
    other = await another(connection)
    first, second = await asyncio.gather(
        directory.ensure_secret(Secret(id="signer", value="aa")), other.ensure_secret(Secret(id="signer", value="bb"))
    )
    assert first == second
    await other.close()


class TestCloudNodeEvents:
    """Creating, deleting, registering and unregistering a cloud node is told, each exactly once."""

    async def test_the_four_events(self, directory):
        told = Told()
        directory.start_telling(told)
        await directory.create(site(), BY)
        await directory.create(node(), BY)
        await directory.change(node(), lambda old: replace(old, registered=True), BY)
        await directory.change(node(), lambda old: replace(old, name="Nord"), BY)
        await directory.change(node(), lambda old: replace(old, registered=False), BY)
        await directory.delete(node(), BY)
        assert told.topics == [f"cloudnode.{verb}" for verb in ("created", "registered", "unregistered", "deleted")]
        created, registered, _, deleted = told.events.values()
        assert created["occurred"] == 1_769_853_600_000
        assert created["metadata"] == {"userId": BY.id, "userName": BY.name, "occurred": 1_769_853_600_000}
        assert created["body"] == {
            "id": "n1",
            "name": "North",
            "description": None,
            "serialNumber": "1234ABC",
            "timezone": "UTC",
            "cardFormat": [],
            "created": CREATED,
        }
        assert registered["body"] == {"id": "n1", "name": "North", "serialNumber": "1234ABC"}
        assert deleted["body"] == {
            "id": "n1",
            "name": "Nord",
            "serialNumber": "1234ABC",
            "locale": "en",
            "timezone": "UTC",
            "killTimer": 300,
            "offlinePolicy": 2,
            "cardFormat": [],
            "created": CREATED,
        }

    async def test_a_crash_before_the_event_is_kept(self, directory, connection):
        """The process ends between the record and its event: the next start tells it."""
        await directory.create(site(), BY)
        await directory.create(node(), BY)
        await directory.create(node(id="n2"), BY)
        await directory.delete(node(id="n2"), BY)
        told = Told()
        other = await another(connection)
        assert other.site(SITE).cloud_nodes.get("n2") is None
        other.start_telling(told)
        await other._outbox.told(key_of(node(id="n2")), 5)
        assert told.topics == ["cloudnode.created", "cloudnode.created", "cloudnode.deleted"]
        await other.close()

    async def test_a_crash_after_the_event_is_kept(self, directory, connection):
        """The process ends before it noted that the event is kept: the same id is put in again and absorbed."""
        told = Told()
        await directory.create(site(), BY)
        await directory.create(node(), BY)
        third = await another(connection)
        other = await another(connection)
        other.start_telling(told)
        await other._outbox.told(key_of(node()), 5)
        third.start_telling(told)
        await third._outbox.told(key_of(node()), 5)
        assert len(told.events) == 1
        assert not third._mirror.entry(key_of(node())).pending
        await other.close()
        await third.close()

    async def test_what_is_told_leaves_nothing_behind(self, directory, connection):
        told = Told()
        directory.start_telling(told)
        await directory.create(site(), BY)
        await directory.create(node(), BY)
        await directory.delete(node(), BY)
        calls = told.calls
        other = await another(connection)
        other.start_telling(told)
        await asyncio.sleep(0.05)
        assert told.calls == calls
        await other.close()

    async def test_ingest_away(self, directory, monkeypatch):
        """The change stays acknowledged, and its event follows when ingest is back."""
        monkeypatch.setattr("doorstream.directory.directory._TELLING_PATIENCE", 0.05)
        monkeypatch.setattr("doorstream.directory.outbox._PAUSE", 0.01)
        told = Told()
        told.failing = True
        directory.start_telling(told)
        await directory.create(site(), BY)
        await directory.create(node(), BY)
        with pytest.raises(LogUnavailable):
            await directory.delete(site(), BY)
        assert directory.site(SITE) is not None
        told.failing = False
        await directory._outbox.told(key_of(node()), 5)
        await directory.delete(site(), BY)
        assert told.topics == ["cloudnode.created", "cloudnode.deleted"]

    async def test_created_again_before_the_deletion_is_told(self, directory):
        """The list of what is to be told goes on with the new entity."""
        await directory.create(site(), BY)
        await directory.create(node(), BY)
        await directory.delete(node(), BY)
        await directory.create(node(), SYSTEM)
        told = Told()
        directory.start_telling(told)
        await directory._outbox.told(key_of(node()), 5)
        assert told.topics == ["cloudnode.created", "cloudnode.deleted", "cloudnode.created"]
