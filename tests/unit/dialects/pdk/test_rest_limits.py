"""PDK-17: rate limits of PDK's own routes, and of nothing else."""

from typing import Any

import pytest

from doorstream.dialects.pdk import limits
from doorstream.dialects.pdk.limits import HostLimit, RateLimiter
from world import OTHER, SITE, Clock, World, open_world


@pytest.fixture
async def world(connection):
    async with open_world(connection) as world:
        yield world


def told(answer: Any) -> tuple[int, int]:
    assert int(answer.headers["x-ratelimit-reset"]) >= 1_769_853_600
    return int(answer.headers["x-ratelimit-limit"]), int(answer.headers["x-ratelimit-remaining"])


async def test_pdk_17_reads_of_the_systems_host(world: World):
    """70 a second, then 429 until time has passed."""
    panel = world.bearer(world.system_token())
    for number in range(70):
        answer = await panel.get("/api/holders" if number % 2 else f"/{SITE}/devices")
        assert answer.status == 200
        assert told(answer) == (70, 69 - number)
    refused = await panel.get("/api/holders")
    assert refused.status == 429
    assert refused.json()["statusCode"] == 429
    assert told(refused) == (70, 0)
    assert refused.headers["retry-after"] == "1"
    world.clock.now += 0.5
    assert [(await panel.get("/api/holders")).status for _ in range(36)] == [200] * 35 + [429]


async def test_pdk_17_writes_of_the_accounts_host(world: World):
    """10 tokens a second; reads go on to 35."""
    panel = world.bearer(world.id_token())
    answers = [await panel.post(f"/api/systems/{SITE}/token") for _ in range(11)]
    assert [answer.status for answer in answers] == [200] * 10 + [429]
    assert told(answers[0]) == (10, 9)
    reads = [await panel.get("/api/systems") for _ in range(26)]
    assert [answer.status for answer in reads] == [200] * 25 + [429]
    assert told(reads[0]) == (35, 24)


async def test_pdk_17_errors_have_the_headers_too(world: World):
    panel = world.bearer(world.id_token())
    assert told(await panel.post(f"/api/systems/{OTHER}/token")) == (10, 9)
    assert told(await panel.get("/api/systems?page=x"))[0] == 35
    assert told(await world.client().get("/api/holders")) == (70, 69)
    assert told(await world.bearer("x").get(f"/{SITE}")) == (70, 68)


async def test_pdk_17_per_client(world: World):
    panel, ops = world.bearer(world.system_token()), world.bearer(world.system_token("ops"))
    for _ in range(71):
        answer = await panel.get("/api/holders")
    assert answer.status == 429
    assert (await ops.get("/api/holders")).status == 200
    assert (await world.client().get("/api/holders")).status == 401


async def test_pdk_17_nobody_is_limited_by_address(world: World):
    statuses = [(await world.bearer("x").get("/api/holders")).status for _ in range(71)]
    assert statuses == [401] * 70 + [429]
    assert (await world.bearer(world.system_token()).get("/api/holders")).status == 200


async def test_pdk_17_the_token_endpoint(world: World):
    """PDK's token route is limited, the same handler at Salto's address is not."""
    good = "grant_type=client_credentials&client_id=panel&client_secret=" + "5e" * 32
    answers = [await _grant(world, "/oauth2/token", good) for _ in range(11)]
    assert [answer.status for answer in answers] == [200] * 10 + [429]
    assert told(answers[0]) == (10, 9)
    assert answers[10].headers["retry-after"] == "1"
    assert (await _grant(world, "/connect/token", good)).status == 200
    bad = [await _grant(world, "/oauth2/token", "grant_type=client_credentials") for _ in range(11)]
    assert [answer.status for answer in bad] == [401] * 10 + [429]
    assert told(bad[0]) == (10, 9)
    assert "x-ratelimit-limit" not in (await _grant(world, "/connect/token", good)).headers


async def test_pdk_17_nothing_else_is_limited(world: World):
    ops = world.client("ops")
    for _ in range(80):
        answer = await ops.get("/api/sites")
    assert answer.status == 200
    assert "x-ratelimit-limit" not in answer.headers


async def _grant(world: World, path: str, form: str) -> Any:
    headers = {"content_type": "application/x-www-form-urlencoded"}
    return await world.client().call("POST", path, body=form.encode(), **headers)


def test_limits_are_configurable():
    clock = Clock()
    limiter = RateLimiter(HostLimit(writes=0.5, requests=2), clock)
    assert limiter.take("a", write=True).allowed
    refused = limiter.take("a", write=True)
    assert not refused.allowed
    assert (refused.limit, refused.remaining, refused.retry_after) == (1, 0, 2)
    assert refused.reset == clock() + 2
    clock.now += 2
    assert limiter.take("a", write=True).allowed


def test_a_refused_request_costs_nothing():
    """Who keeps asking is served again as soon as the time has passed."""
    clock = Clock()
    limiter = RateLimiter(HostLimit(writes=1, requests=1), clock)
    limiter.take("a", write=False)
    for _ in range(10):
        assert not limiter.take("a", write=False).allowed
    clock.now += 1
    assert limiter.take("a", write=False).allowed


def test_a_clock_that_is_set_back():
    """A step of the clock by an hour does not lock clients out for an hour."""
    clock = Clock()
    limiter = RateLimiter(HostLimit(writes=1, requests=2), clock)
    limiter.take("a", write=True)
    clock.now -= 3600
    assert not limiter.take("a", write=True).allowed
    clock.now += 1
    assert limiter.take("a", write=True).allowed


def test_memory_is_bounded(monkeypatch):
    """Clients that have not asked for a while are forgotten; a flood of names cannot grow it."""
    monkeypatch.setattr(limits, "_MOST_CLIENTS", 10)
    clock = Clock()
    limiter = RateLimiter(HostLimit(writes=1, requests=1), clock)
    for number in range(50):
        limiter.take(f"c{number}", write=False)
    assert len(limiter._buckets) == 10
    clock.now += 10
    limiter.take("new", write=False)
    assert limiter._buckets.keys() == {"new"}
