"""Bind, unbind and notify against a model: who hears what, in which order, however slow and whatever moves."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from doorstream.dialects.placeos.bindings import Bindings, Listener
from doorstream.dialects.placeos.messages import Address, Form

PLACES = [("sys", "Door", 1), ("other", "Door", 1)]
MODULES = ["mod-1", "mod-2"]
VARIABLES = ["locked", "mode"]
# Few, so that sockets meet in the same groups.
ADDRESSES = [Address(*PLACES[0], "locked"), Address(*PLACES[0], "mode"), Address(*PLACES[1], "locked")]
ANY_ADDRESS = st.sampled_from([*ADDRESSES[:1] * 4, *ADDRESSES[1:]])
CLIENTS = range(3)
LIMIT = 1  # so low that every write is preceded by a look


class Client:
    """A socket, and what the model expects it to have received, by address."""

    def __init__(self) -> None:
        self.unsent = 0
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()
        self.listener = Listener(self.write, lambda: self.unsent, self.may_go_on.wait)
        self.faults: list[str] = []
        """What a write found wrong: the bindings would survive its exception."""
        self.fresh: set[Address] = set()
        """Bound, and nothing came yet: the first value may be the last one of an earlier binding."""
        self.received: dict[Address, list[Any]] = defaultdict(list)
        self.ids: dict[Address, bytes] = {}
        self.expected: dict[Address, list[Any]] = defaultdict(list)
        self.pending: dict[Address, list[Any]] = defaultdict(list)

    @property
    def is_slow(self) -> bool:
        return not self.may_go_on.is_set()

    def write(self, data: bytes) -> None:
        for line in data.decode().split("\n")[1:]:
            message = json.loads(line)
            meta = message["meta"]
            address = Address(meta["sys"], meta["mod"], meta["index"], meta["name"])
            value = message["value"]
            seen = self.received[address]
            if address not in self.ids:
                self.faults.append(f"not bound to {address}")
            elif json.dumps(message["id"]).encode() != self.ids[address]:
                self.faults.append(f"the id is not that of the bind that began it: {message['id']}")
            elif address not in self.fresh and seen[-1] == value:
                self.faults.append(f"{value} twice in a row for {address}")
            self.fresh.discard(address)
            seen.append(value)


class Bound(RuleBasedStateMachine):
    """The bindings of a few sockets, modules that come, go and change places, and variables that change."""

    @initialize()
    def begin(self) -> None:
        self.runner = asyncio.Runner()
        self.queue: list[Callable[[], None]] = []
        """What happens within one turn of the loop, which begins when it is asked for."""
        self.places: dict[tuple[str, str, int], str] = {PLACES[0]: "mod-1"}
        self.values: dict[tuple[str, str], int] = {}
        self.last: dict[Address, Any] = {}
        self.clients = [Client() for _ in CLIENTS]
        self.bindings = Bindings(self.places.get, self._json, lambda _: b"\n", behind_at=LIMIT)

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            self.runner.close()

    def _json(self, module_id: str, variable: str) -> bytes | None:
        value = self.values.get((module_id, variable))
        return None if value is None else str(value).encode()

    def _current(self, address: Address) -> int | None:
        return self.values.get((self.places.get(address[:3], ""), address.name))

    @rule(client=st.sampled_from(CLIENTS), address=ANY_ADDRESS, number=st.sampled_from([1, 1, 1, 2]))
    def bind(self, client: int, address: Address, number: int) -> None:
        self.queue.append(lambda: self._bind(self.clients[client], address, str(number).encode()))

    def _bind(self, client: Client, address: Address, request_id: bytes) -> None:
        is_new = address not in client.ids
        client.ids.setdefault(address, request_id)
        if is_new:
            client.fresh.add(address)
            client.expected[address] = list(client.received[address])
            client.pending[address] = []
        frame = self.bindings.bind(client.listener, request_id, address, Form.JSON)
        if frame is not None:
            assert is_new
            client.write(frame)
        if is_new and not client.is_slow:
            current = self._current(address)
            had_one = any(address in each.ids for each in self.clients if each is not client)
            if current is not None:
                client.expected[address].append(current)
            elif had_one and self._told_null(address, client):
                client.expected[address].append(None)

    def _told_null(self, address: Address, client: Client) -> bool:
        """Whether those who share the group have been told that there is no value any more."""
        return client.received[address][len(client.expected[address]) :] == [None]

    @rule(client=st.sampled_from(CLIENTS), address=ANY_ADDRESS)
    def unbind(self, client: int, address: Address) -> None:
        self.queue.append(lambda: self._unbind(self.clients[client], address))

    def _unbind(self, client: Client, address: Address) -> None:
        """What waited to be written may have been, because others bound in the same turn, and otherwise never is."""
        self.bindings.unbind(client.listener, address)
        if address not in client.ids:
            return
        if not client.is_slow:
            seen = client.received[address]
            expected = client.expected[address]
            late = seen[len(expected) :]
            assert seen[: len(expected)] == expected
            assert late == client.pending[address][: len(late)]
        del client.ids[address]
        client.expected[address] = list(client.received[address])
        client.pending[address] = []

    @rule(
        module=st.sampled_from(["mod-1", *MODULES]),
        variable=st.sampled_from(["locked", "locked", *VARIABLES]),
        value=st.sampled_from([0, 0, 1, 1, None]),
    )
    def change(self, module: str, variable: str, value: int | None) -> None:
        self.queue.append(lambda: self._change(module, variable, value))

    def _change(self, module: str, variable: str, value: int | None) -> None:
        if self.values.get((module, variable)) == value:
            return  # the runtime tells only what differs
        if value is None:
            del self.values[module, variable]
        else:
            self.values[module, variable] = value
        self.bindings.changed(module, variable, self._json(module, variable))
        for address in ADDRESSES:
            if self.places.get(address[:3]) == module and address.name == variable:
                self._expect(address, value)

    def _expect(self, address: Address, value: int | None) -> None:
        for client in self.clients:
            if address in client.ids and not client.is_slow:
                client.pending[address].append(value)

    @rule(place=st.sampled_from(PLACES), module=st.none() | st.sampled_from(MODULES), everywhere=st.booleans())
    def move(self, place: tuple[str, str, int], module: str | None, *, everywhere: bool) -> None:
        self.queue.append(lambda: self._move(place, module, None if everywhere else [place[0]]))

    def _move(self, place: tuple[str, str, int], module: str | None, systems: list[str] | None) -> None:
        before = {address: self._current(address) for address in ADDRESSES if address[:3] == place}
        if module is None:
            self.places.pop(place, None)
        else:
            self.places[place] = module
        self.bindings.moved(systems)
        for address, value in before.items():
            if self._current(address) != value:
                self._expect(address, self._current(address))

    @rule(client=st.sampled_from(CLIENTS))
    def become_slow(self, client: int) -> None:
        self.queue.append(lambda: self._become_slow(self.clients[client]))

    def _become_slow(self, client: Client) -> None:
        client.unsent = LIMIT + 1
        client.may_go_on.clear()

    @rule()
    def drain(self) -> None:
        """Everybody takes what waits, and then knows what is so now."""
        self.runner.run(self._drain())

    async def _drain(self) -> None:
        self._happen()
        drained = [client for client in self.clients if client.is_slow]
        await self._settle()
        for client in drained:
            client.unsent = 0
            client.may_go_on.set()
        await self._settle()
        for client in drained:
            for address in client.ids:
                seen = client.received[address][len(client.expected[address]) :] or client.expected[address][-1:]
                assert (seen[-1] if seen else None) == self._current(address)
                client.expected[address] = list(client.received[address])
                client.pending[address] = []

    @rule()
    def turn(self) -> None:
        """The loop comes round: everybody who keeps up has everything, in order."""
        self.runner.run(self._turn())

    async def _turn(self) -> None:
        self._happen()
        await self._settle()
        for client in self.clients:
            for address in client.ids:
                if not client.is_slow:
                    client.expected[address] += client.pending[address]
                    client.pending[address] = []
                    assert client.received[address] == client.expected[address]

    def _happen(self) -> None:
        queue, self.queue = self.queue, []
        for operation in queue:
            operation()
        assert (len(self.bindings) == 0) == (not any(client.ids for client in self.clients))

    async def _settle(self) -> None:
        for _ in range(8):
            await asyncio.sleep(0)

    @invariant()
    def nothing_was_found_wrong(self) -> None:
        for client in getattr(self, "clients", ()):
            assert client.faults == []


TestBound = Bound.TestCase
TestBound.settings = settings(max_examples=200, stateful_step_count=40)
