"""What the gateway tests share."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest
import uvloop
from gateway_support import FakeClock, RunningServer, Start, start_server

from doorstream.gateway import Gateway


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run on the loop that the server runs on: its transports are not those of asyncio."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
def clock() -> FakeClock:
    """A clock to turn by hand."""
    return FakeClock()


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Start servers; they end with the test."""
    running: list[tuple[RunningServer, asyncio.Task[None]]] = []

    async def start_one(gateway: Gateway, app: Any = None, **settings: Any) -> RunningServer:
        running.append(await start_server(gateway, app, **settings))
        return running[-1][0]

    yield start_one
    for one, task in running:
        for client in one.clients:
            client.writer.transport.abort()
        one.server.should_exit = True
        await task
