"""How another worker follows the modules' log lines, where somebody comes or goes while it speaks to NATS."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from doorstream.drivers.remote import Branch, _encode, _Line
from doorstream.testing import until


class Client:
    """NATS as far as a branch needs it. ``meanwhile`` is called whenever it is asked for something that takes time."""

    def __init__(self) -> None:
        self.heard: dict[str, Callable[..., None]] = {}
        self.meanwhile: Callable[[], object] = lambda: None

    async def _wait(self) -> None:
        await asyncio.sleep(0)
        self.meanwhile()

    async def listen(self, subject: str, receive: Callable[..., None]) -> Subscription:
        """As LogClient's."""
        await self._wait()
        self.heard[subject] = receive
        return Subscription(self, subject)

    def send(self, _commands: bytes) -> None:
        """Nobody takes it."""

    def write(self, module_id: str) -> None:
        """The module writes a log line."""
        receive = self.heard.get(f"doorstream.drivers.lines.{module_id}")
        if receive is not None:
            receive(b"", b"", _encode(_Line("info", "hello", "Lamp")), b"")


class Subscription:
    """One of the subjects that are listened to."""

    def __init__(self, client: Client, subject: str) -> None:
        self._client = client
        self._subject = subject

    async def unsubscribe(self) -> None:
        """As nats-py's."""
        self._client.heard.pop(self._subject, None)
        await self._client._wait()


@pytest.fixture
def client() -> Client:
    return Client()


@contextlib.asynccontextmanager
async def following(client: Client) -> AsyncIterator[Branch]:
    """A branch that is open."""
    connection: Any = type("Connection", (), {"client": client})()
    branch = Branch(connection)
    await branch.open()
    yield branch
    await branch.close()


async def told(client: Client, module_id: str, lines: list[str]) -> None:
    """Wait until a module's log lines arrive; fails when they do not."""

    def arrives() -> bool:
        lines.clear()
        client.write(module_id)
        return bool(lines)

    await until(arrives, 2)


async def test_somebody_who_comes_while_another_is_heard_for_the_first_time(client: Client) -> None:
    """Whom all follow was gone through meanwhile: the task ended, and nobody of this worker was told anything again."""
    first: list[str] = []
    second: list[str] = []
    async with following(client) as branch:

        def come() -> None:
            client.meanwhile = lambda: None
            branch.attach("two", lambda _level, message, _klass: second.append(message))

        client.meanwhile = come
        branch.attach("one", lambda _level, message, _klass: first.append(message))
        await told(client, "one", first)
        await told(client, "two", second)


async def test_somebody_who_comes_back_while_another_is_left(client: Client) -> None:
    """They were left as well, though they were there again."""
    lines: list[str] = []

    def sink(_level: str, message: str, _klass: str) -> None:
        lines.append(message)

    async with following(client) as branch:
        leave = [branch.attach(module_id, sink) for module_id in ("one", "two")]
        await told(client, "two", lines)

        def come_back() -> None:
            client.meanwhile = lambda: None
            branch.attach("two", sink)

        client.meanwhile = come_back
        for each in leave:
            each()
        await until(lambda: "doorstream.drivers.lines.one" not in client.heard, 2)
        for _ in range(5):
            await asyncio.sleep(0)
        await told(client, "two", lines)
