"""The way of the vendor's own Node library: discovery, the system's ``uri``, ``liveEvent`` (PDK-2, 3 and 9)."""

from __future__ import annotations

import pytest
from node_client import node_program
from pdk_programs import put

from doorstream.testing.server import running_demo

pytestmark = pytest.mark.node


async def test_pdk_02_03_09_as_the_vendors_library() -> None:
    """With the libraries that it is made of (vendor-apis.md P8), nothing in them changed."""
    async with running_demo() as demo:
        pdk = demo.credentials["pdk"] | {"url": demo.url}
        async with node_program("pdk_vendor.cjs", pdk) as client:
            await client.until(lambda: client.all("connect") or client.all("failed"))
            assert not client.all("failed")
            await put(demo, "vendor-1")
            await client.until(lambda: client.events)
        granted, validated, system = (client.all(what)[0] for what in ("granted", "validated", "system"))
        assert 295 <= granted["expires_in"] <= 300
        assert granted["token_type"] == "Bearer"
        assert validated["claims"]["iss"] == demo.url
        assert validated["claims"]["aud"] == pdk["client_id"]
        assert system["id"] == pdk["system_id"]
        assert system["uri"].startswith(demo.url)
        assert client.names == ["liveEvent"]
