"""Options of the command that concern PDK's connections (design D12)."""

from __future__ import annotations

import aiohttp
import msgspec

from doorstream.testing.server import running_demo


async def test_d12_clients_are_told_the_limits() -> None:
    """Engine.IO's first packet names them."""
    async with (
        running_demo(max_message=5000, ping_interval=3, ping_timeout=2) as demo,
        aiohttp.ClientSession() as session,
        session.get(f"{demo.url}/socket.io/?EIO=4&transport=polling") as response,
    ):
        packet = (await response.text())[1:]
    opened = msgspec.json.decode(packet)
    assert (opened["maxPayload"], opened["pingInterval"], opened["pingTimeout"]) == (5000, 3000, 2000)
