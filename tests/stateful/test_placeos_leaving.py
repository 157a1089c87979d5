"""The bindings against a model: sockets come and go at every moment, also from within what is written to them.

A watcher unbinds, or is gone, as soon as it is told of something; another one may bind in its place just then. With the
last socket its group ends, while the bindings may be in the middle of a bind, a change, or of writing to others.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Literal

from hypothesis import given, settings
from hypothesis import strategies as st

from doorstream.dialects.placeos.bindings import Bindings, Listener
from doorstream.dialects.placeos.messages import Address, Form

ADDRESSES = (Address("sys", "Door", 1, "locked"), Address("sys", "Door", 1, "mode"))
MODULE = "mod-1"
LIMIT = 1

Then = Literal["stays", "unbinds", "goes", "makes room"]
ADDRESS = st.sampled_from([*ADDRESSES, ADDRESSES[0]])
ACTION = st.one_of(
    st.tuples(st.just("change"), ADDRESS, st.integers(0, 3)),
    st.tuples(st.just("bind"), ADDRESS, st.sampled_from(["stays", "unbinds", "goes", "makes room"])),
    st.tuples(st.just("bind both"), ADDRESS, st.sampled_from(["stays", "unbinds", "goes"])),
    st.tuples(st.sampled_from(["unbind", "go", "stall", "drain"]), ADDRESS, st.integers(0, 9)),
)
TURNS = st.lists(st.lists(ACTION, max_size=10), max_size=8)
"""What is done within one turn of the loop, for some turns."""


class Socket:
    """One socket, and what it was told."""

    def __init__(self, model: Model, then: Then) -> None:
        self.model = model
        self.then: Then = then
        self.bound: set[Address] = set()
        self.told: dict[Address, int | None] = {}
        self.takes = asyncio.Event()
        self.takes.set()
        self.unsent = 0
        self.listener = Listener(self.write, lambda: self.unsent, self.takes.wait)

    def bind(self, address: Address) -> None:
        """As a control socket does."""
        if address not in self.bound:
            self.bound.add(address)
            self.told[address] = None
            frame = self.model.bindings.bind(self.listener, b"1", address, Form.JSON)
            if frame is not None:
                self._take(frame)

    def unbind(self, address: Address) -> None:
        """As a control socket does."""
        self.bound.discard(address)
        self.model.bindings.unbind(self.listener, address)

    def go(self) -> None:
        """It closes."""
        self.bound.clear()
        self.model.bindings.leave(self.listener)

    def write(self, data: bytes) -> None:
        """Be told, and perhaps have had enough."""
        first = self._take(data)
        then, self.then = self.then, "stays"
        if then == "unbinds":
            self.unbind(first)
        elif then in ("goes", "makes room"):
            self.go()
            if then == "makes room":
                self.model.open("stays").bind(first)

    def _take(self, data: bytes) -> Address:
        messages = [json.loads(line) for line in data.decode().split("\n")[1:]]
        for message in messages:
            meta = message["meta"]
            address = Address(meta["sys"], meta["mod"], meta["index"], meta["name"])
            if address not in self.bound:
                self.model.faults.append(f"{address} is not bound")
            self.told[address] = message["value"]
        return Address(*(messages[0]["meta"][name] for name in ("sys", "mod", "index", "name")))


class Model:
    """Bindings, one module, and everybody who ever was there."""

    def __init__(self) -> None:
        self.values: dict[str, int] = {}
        self.bindings = Bindings(lambda _: MODULE, self._json, lambda _: b"\n", behind_at=LIMIT)
        self.everybody: list[Socket] = []
        self.faults: list[str] = []

    def _json(self, _module: str, variable: str) -> bytes | None:
        value = self.values.get(variable)
        return None if value is None else str(value).encode()

    @property
    def bound(self) -> list[Socket]:
        """Who is bound to anything."""
        return [socket for socket in self.everybody if socket.bound]

    def open(self, then: Then) -> Socket:
        """One more."""
        self.everybody.append(Socket(self, then))
        return self.everybody[-1]

    def do(self, kind: str, address: Address, argument: Then | int) -> None:
        """One action."""
        if kind == "change" and isinstance(argument, int):
            if self.values.get(address.name) != argument:
                self.values[address.name] = argument
                self.bindings.changed(MODULE, address.name, b"%d" % argument)
        elif isinstance(argument, str):
            socket = self.open(argument)
            for each in ADDRESSES if kind == "bind both" else (address,):
                socket.bind(each)
        elif self.bound:
            socket = self.bound[argument % len(self.bound)]
            actions: dict[str, Callable[[], None]] = {
                "unbind": lambda: socket.unbind(address),
                "go": socket.go,
                "stall": lambda: self._stall(socket),
                "drain": lambda: self._drain(socket),
            }
            actions[kind]()

    def _stall(self, socket: Socket) -> None:
        socket.unsent = LIMIT + 1
        socket.takes.clear()

    def _drain(self, socket: Socket) -> None:
        socket.unsent = 0
        socket.takes.set()

    async def settle(self) -> None:
        """Let the loop do what is waiting."""
        for _ in range(8):
            await asyncio.sleep(0)

    def check(self) -> None:
        """Who keeps up and is bound knows what is so now."""
        assert self.faults == []
        for socket in self.bound:
            if not socket.unsent:
                for address in socket.bound:
                    assert socket.told[address] == self.values.get(address.name)


@settings(max_examples=1_000)
@given(TURNS)
def test_whoever_is_bound_knows_what_is_so_whoever_left(turns):
    async def run() -> None:
        model = Model()
        for actions in turns:
            for action in actions:
                model.do(*action)
            await model.settle()
            model.check()
        for socket in model.everybody:
            model._drain(socket)
        await model.settle()
        model.check()
        while model.bound:
            model.bound[0].go()
        await model.settle()
        assert len(model.bindings) == 0
        bindings = model.bindings
        assert (bindings._slots, bindings._by_system, bindings._by_variable) == ({}, {}, {})

    asyncio.run(run())
