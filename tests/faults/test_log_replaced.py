"""A NATS of somebody else's comes back with another store: nobody may go on as if it were the same."""

from __future__ import annotations

import asyncio
import re
import shutil
from pathlib import Path

from faults_support import Serve, SseReader, children_of, event, patiently, running, serving, until

from doorstream.testing.nats import NatsServer, nats_server

NOTICED_WITHIN = 60.0


def newest_key(server: Serve) -> str:
    """The administrator's key that was shown last."""
    return re.findall(r"ds_\S+", server.output)[-1]


async def change_store(nats: NatsServer, copy: Path | None) -> None:
    """Stop NATS, have its store be the copy, or nothing, and start it."""
    await nats.terminate()
    store = nats.embedded._directory / "store"
    shutil.rmtree(store)
    if copy is not None:
        shutil.copytree(copy, store)
    await nats.start()


async def epoch(server: Serve) -> str:
    found: str = (await patiently(lambda: server.api.call("GET", "/readyz")))["epoch"]
    return found


async def test_a_deleted_store_begins_a_new_log(tmp_path: Path) -> None:
    """The worker ends and begins anew, a follower is told of the gap, and the new administrator's key is shown."""
    async with nats_server() as nats, serving(tmp_path, "--nats-url", nats.url) as (server, site_id):
        await server.api.ingest(site_id, *[event(f"old-{number}") for number in range(5)])
        before = await epoch(server)
        workers = set(children_of(server.pid))
        await change_store(nats, None)
        await until(lambda: newest_key(server) != server.key, NOTICED_WITHIN, lambda: server.errors)
        server.key = newest_key(server)
        assert await epoch(server) != before
        assert not workers & set(children_of(server.pid))
        assert "the log is not the one that was opened" in server.errors
        site = await server.api.create_site(name="Harbour House")
        follower = SseReader(server.url, server.key, site)
        follower._last = f"{before}.3"
        async with running(follower.run()):
            await server.api.ingest(site, event("new"))
            await until(lambda: follower.gaps == 1 and "new" in follower.ids, NOTICED_WITHIN)


async def test_an_older_copy_is_noticed_and_its_followers_are_told(tmp_path: Path) -> None:
    """The epoch is the same, but sequences that were handed out already would come a second time.

    With another epoch in the restored log, as ``doorstream restore`` gives it, positions could not be confused at all;
    with a copied directory a position behind the log's end is all that can be seen.
    """
    async with nats_server() as nats, serving(tmp_path, "--nats-url", nats.url) as (server, site_id):
        await server.api.ingest(site_id, *[event(f"kept-{number}") for number in range(5)])
        await nats.terminate()
        copy = tmp_path / "copy"
        shutil.copytree(nats.embedded._directory / "store", copy)
        await nats.start()
        await patiently(lambda: server.api.ingest(site_id, *[event(f"lost-{number}") for number in range(5)]))
        follower = SseReader(server.url, server.key, site_id)
        async with running(follower.run()):
            await until(lambda: follower.is_open, NOTICED_WITHIN)
            await patiently(lambda: server.api.ingest(site_id, event("seen")))
            await until(lambda: "seen" in follower.ids, NOTICED_WITHIN)
            workers = set(children_of(server.pid))
            await change_store(nats, copy)
            await until(lambda: workers.isdisjoint(children_of(server.pid)), NOTICED_WITHIN, lambda: server.errors)
            await until(lambda: follower.gaps == 1, NOTICED_WITHIN, lambda: server.errors)
            await patiently(lambda: server.api.ingest(site_id, event("after")))
            await until(lambda: "after" in follower.ids, NOTICED_WITHIN)


async def test_the_same_store_goes_on_with_the_same_worker(tmp_path: Path) -> None:
    """A restart of NATS is no reason to end anything, and what was asked for meanwhile is answered."""
    async with nats_server() as nats, serving(tmp_path, "--nats-url", nats.url) as (server, site_id):
        await server.api.ingest(site_id, event("first"))
        before, workers = await epoch(server), set(children_of(server.pid))
        for number in range(3):
            await nats.terminate()
            await nats.start()
            await patiently(lambda number=number: server.api.ingest(site_id, event(f"then-{number}")))
        await asyncio.sleep(0.5)  # more than the guard takes
        assert (await epoch(server), set(children_of(server.pid))) == (before, workers)
