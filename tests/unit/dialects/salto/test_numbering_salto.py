"""Numbering messages again: the connection token and the checkpoint."""

from __future__ import annotations

import asyncio

import pytest

from doorstream.dialects.salto.messages import TABLE_VERSION, SaltoEncoder, Shapes
from doorstream.dialects.salto.numbering import CHECKPOINT_EVERY, Begin, Numbering
from doorstream.events import Event, Position
from doorstream.events.event import encode_kept
from doorstream.live import Hub, Interest
from doorstream.protocols.websocket import text_frame

SITE = "0738b8df-329a-4d50-88e7-7a48928c4d6f"
EPOCH = "3f9a1c07"
ENTRIES = Interest(SITE, SaltoEncoder("entries", None, "json", Shapes(lambda _: None)), text_frame)
TOPICS = ("device.request.allowed", "device.alarm.forced", "device.input.relay.on")


@pytest.fixture
async def hub() -> Hub:
    """A thousand events, of which every third is an entry."""
    hub = Hub(EPOCH, 0)
    for sequence in range(1, 1001):
        kept = encode_kept(
            id=str(sequence),
            topic=TOPICS[sequence % 3],
            site_id=SITE,
            occurred=0,
            body={},
            cloud_node=None,
            metadata=None,
        )
        hub.publish(Event(kept, sequence, 0))
    return hub


async def test_a_checkpoint_moves_only_when_it_is_worth_it(hub: Hub) -> None:
    numbering = Numbering(Position(EPOCH, 0))
    numbering.acknowledge(CHECKPOINT_EVERY - 1, hub, ENTRIES)
    assert (numbering.count, numbering.position.sequence) == (0, 0)
    numbering.acknowledge(CHECKPOINT_EVERY, hub, ENTRIES)
    assert (numbering.count, numbering.position.sequence) == (CHECKPOINT_EVERY, 3 * CHECKPOINT_EVERY)


async def test_it_never_passes_what_was_acknowledged(hub: Hub) -> None:
    """What follows the checkpoint is exactly the client's next message."""
    numbering = Numbering(Position(EPOCH, 0))
    numbering.acknowledge(100, hub, ENTRIES)
    numbering.advance(hub, ENTRIES)
    later = [entry for entry in hub.ring.after(numbering.position.sequence, SITE) if ENTRIES.encoder.encode(entry)]
    assert numbering.count == 100
    assert later[0].event.sequence == 303


async def test_what_was_encoded_on_the_way_is_not_kept(hub: Hub) -> None:
    """It would be one copy for each client and event of the ring."""
    Numbering(Position(EPOCH, 0)).acknowledge(CHECKPOINT_EVERY, hub, ENTRIES)
    await asyncio.sleep(0)
    assert not any(entry.memo for entry in hub.ring.after(0, SITE))


async def test_a_client_that_claims_too_much_harms_itself_only(hub: Hub) -> None:
    numbering = Numbering(Position(EPOCH, 0))
    numbering.acknowledge(10**9, hub, ENTRIES)
    assert (numbering.count, numbering.position.sequence) == (333, 999)


async def test_where_the_ring_is_too_short_it_stays(hub: Hub) -> None:
    hub.ring.base = 10
    numbering = Numbering(Position(EPOCH, 0))
    numbering.acknowledge(300, hub, ENTRIES)
    assert numbering.count == 0
    other = Numbering(Position("another", 50))
    other.acknowledge(300, hub, ENTRIES)
    assert other.count == 0


def test_what_a_connection_token_says() -> None:
    begin = Begin(TABLE_VERSION, "user ann", "entries", SITE, "", f"{EPOCH}.5", 0.0)
    assert Begin.decode(begin.encode()) == begin
    assert begin.position == Position(EPOCH, 5)
    assert begin.matches("user ann", "entries", SITE, None)
    assert not begin.matches("user bob", "entries", SITE, None)
    assert not begin.matches("user ann", "incidents", SITE, None)
    assert not begin.matches("user ann", "entries", SITE, "h1")


def test_one_of_another_table_or_form_is_not_read() -> None:
    """After an upgrade that changed what counts as a message nobody may count on."""
    begin = Begin(TABLE_VERSION + 1, "user ann", "entries", SITE, "", "", 0.0)
    assert Begin.decode(begin.encode()) is None
    assert Begin.decode("") is None
    assert Begin(TABLE_VERSION, "", "entries", SITE, "", "", 0.0).position is None
