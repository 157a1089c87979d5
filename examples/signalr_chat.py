"""A SignalR hub on /chat.

`Send(user, text)` has everybody receive `ReceiveMessage(user, text)`. `Add(a, b)` answers with the sum. `Count(n,
seconds)` answers with a stream of n numbers, that far apart. `Greet()` asks the caller's own method `Name()` for a
name (a client result) and answers with a greeting.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable
from typing import Any

from doorstream.gateway import Gateway
from doorstream.gateway.serve import serve
from doorstream.gateway.signalr import Call, HubEndpoint, HubHandler, Ticket
from doorstream.protocols.signalr import (
    CancelInvocation,
    Completion,
    Invocation,
    StreamInvocation,
    StreamItem,
)
from doorstream.protocols.websocket import UpgradeRequest

MOST = 1_000_000
"""Numbers in one stream."""


class Room:
    """Everybody who is connected."""

    def __init__(self) -> None:
        self.clients: set[ChatClient] = set()

    def open(self, request: UpgradeRequest, ticket: Ticket | None) -> ChatClient:
        """Let everybody in."""
        del request, ticket
        return ChatClient(self)


class ChatClient(HubHandler):
    """One client."""

    def __init__(self, room: Room) -> None:
        super().__init__()
        self._room = room
        self._streams: dict[str, asyncio.Task[None]] = {}
        self._asked = 0
        self._answers: dict[str, Callable[[Any], None]] = {}

    def connected(self) -> None:
        """Come in."""
        self._room.clients.add(self)

    def disconnected(self, code: int) -> None:
        """Leave; nothing goes on for a client that is gone."""
        del code
        self._room.clients.discard(self)
        for stream in self._streams.values():
            stream.cancel()

    def received(self, message: Call) -> None:
        """Call a method, begin or end a stream, or take the answer to a question of ours."""
        match message:
            case Invocation(target, arguments, id=call):
                self._call(target, arguments, call)
            case StreamInvocation("Count", [int(number), int() | float() as pause], id=identifier):
                task = asyncio.create_task(self._count(min(number, MOST), pause, identifier))
                self._streams[identifier] = task
                task.add_done_callback(lambda _: self._streams.pop(identifier, None))
            case StreamInvocation(id=identifier):
                self.send(Completion(identifier, error="there is no such stream"))
            case CancelInvocation(identifier) if identifier in self._streams:
                self._streams.pop(identifier).cancel()
                self.send(Completion(identifier))
            case Completion(identifier, result) if identifier in self._answers:
                self._answers.pop(identifier)(result)

    def _call(self, target: str, arguments: list[Any], identifier: str | None) -> None:
        match target, arguments:
            case "Send", [str(user), str(text)]:
                for client in self._room.clients:
                    client.send(Invocation("ReceiveMessage", [user, text]))
                self._answer(identifier, Completion(identifier or ""))
            case "Add", [int() | float() as a, int() | float() as b]:
                self._answer(identifier, Completion(identifier or "", a + b))
            case "Greet", []:
                self._ask("Name", lambda name: self._answer(identifier, Completion(identifier or "", f"Hello {name}")))
            case _:
                self._answer(identifier, Completion(identifier or "", error="there is no such method"))

    def _answer(self, identifier: str | None, completion: Completion) -> None:
        if identifier is not None:
            self.send(completion)

    def _ask(self, method: str, then: Callable[[Any], None]) -> None:
        self._asked += 1
        identifier = f"s{self._asked}"
        self._answers[identifier] = then
        self.send(Invocation(method, [], id=identifier))

    async def _count(self, number: int, pause: float, identifier: str) -> None:
        for item in range(number):
            self.send(StreamItem(identifier, item))
            await self.connection.drained()
            await asyncio.sleep(pause)
        self.send(Completion(identifier))


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=3000)
    arguments = parser.parse_args()
    gateway = Gateway()
    endpoint = HubEndpoint(Room().open)
    gateway.add("/chat", endpoint)
    gateway.add("/chat/negotiate", endpoint.negotiation)
    serve(gateway, host=arguments.host, port=arguments.port)


if __name__ == "__main__":
    main()
