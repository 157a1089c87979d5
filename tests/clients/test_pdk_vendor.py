"""The way of the vendor's own Node library: discovery, the system's ``uri``, ``liveEvent`` (PDK-2, 3 and 9)."""

from __future__ import annotations

import asyncio
import json

import pytest
from node_client import FOLDER, NodeClient
from pdk_programs import put

from doorstream.testing.server import running_demo

pytestmark = pytest.mark.node


async def test_pdk_02_03_09_as_the_vendors_library() -> None:
    """With the libraries that it is made of (vendor-apis.md P8), nothing in them changed."""
    async with running_demo() as demo:
        pdk = demo.credentials["pdk"] | {"url": demo.url}
        process = await asyncio.create_subprocess_exec(
            "node",
            FOLDER / "pdk_vendor.cjs",
            json.dumps(pdk),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        client = NodeClient(process)
        watching = asyncio.create_task(client.watch())
        try:
            await client.until(lambda: client.all("connect") or client.all("failed"))
            assert not client.all("failed")
            await put(demo, "vendor-1")
            await client.until(lambda: client.events)
        finally:
            process.kill()
            await watching
            await process.wait()
            process._transport.close()  # type: ignore[attr-defined]
        granted, validated, system = (client.all(what)[0] for what in ("granted", "validated", "system"))
        assert 295 <= granted["expires_in"] <= 300
        assert granted["token_type"] == "Bearer"
        assert validated["claims"]["iss"] == demo.url
        assert validated["claims"]["aud"] == pdk["client_id"]
        assert system["id"] == pdk["system_id"]
        assert system["uri"].startswith(demo.url)
        assert client.names == ["liveEvent"]
