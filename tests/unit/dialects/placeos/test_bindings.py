"""Fan-out of status variables: who is written to, how often, and what a slow socket gets."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from doorstream.dialects.placeos.bindings import Bindings, Listener
from doorstream.dialects.placeos.messages import Address, Form

LOCKED = Address("sys", "Door", 1, "locked")
MODE = Address("sys", "Door", 1, "mode")
LIMIT = 1  # so low that every write is preceded by a look


class Sink:
    """A socket that takes what the test lets it take."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.unsent = 0
        self.may_go_on = asyncio.Event()
        self.listener = Listener(self.write, lambda: self.unsent, self.drained)

    def write(self, data: bytes) -> None:
        self.writes.append(data)

    async def drained(self) -> None:
        await self.may_go_on.wait()

    @property
    def values(self) -> list[Any]:
        lines = b"".join(self.writes).decode().split("\n")[1:]
        return [json.loads(line)["value"] for line in lines]


class House:
    """The modules and variables behind the bindings."""

    def __init__(self, behind_at: int = LIMIT, **options: int) -> None:
        self.places: dict[tuple[str, str, int], str] = {("sys", "Door", 1): "mod-1"}
        self.variables: dict[tuple[str, str], bytes] = {}
        self.bindings = Bindings(
            self.places.get,
            lambda module_id, name: self.variables.get((module_id, name)),
            lambda _: b"\n",
            behind_at=behind_at,
            **options,
        )

    def set(self, variable: str, value: Any, module_id: str = "mod-1") -> None:
        self.variables[module_id, variable] = json.dumps(value).encode()
        self.bindings.changed(module_id, variable, self.variables[module_id, variable])

    def bind(self, sink: Sink, address: Address = LOCKED, request_id: bytes = b"1") -> None:
        frame = self.bindings.bind(sink.listener, request_id, address, Form.JSON)
        if frame is not None:
            sink.write(frame)


@pytest.fixture
def house() -> House:
    return House()


async def turn() -> None:
    """Let a few turns of the loop pass."""
    for _ in range(4):
        await asyncio.sleep(0)


async def test_the_same_bytes_for_the_same_id(house: House) -> None:
    """One encoding for a group: its members get the very same object."""
    sinks = [Sink() for _ in range(3)]
    for sink in sinks[:2]:
        house.bind(sink)
    house.bind(sinks[2], request_id=b'"other"')
    house.set("locked", value=True)
    await turn()
    assert sinks[0].writes[0] is sinks[1].writes[0]
    assert sinks[2].writes[0] != sinks[0].writes[0]
    assert [sink.values for sink in sinks] == [[True]] * 3
    assert len(house.bindings) == 2


async def test_what_changes_within_a_turn_is_one_write(house: House) -> None:
    """Also over several variables; sockets that are in the same groups share the joined bytes."""
    both, twin, one = Sink(), Sink(), Sink()
    for sink in (both, twin):
        house.bind(sink)
        house.bind(sink, MODE)
    house.bind(one, MODE)
    house.set("locked", value=True)
    house.set("locked", value=False)
    house.set("mode", "normal")
    await turn()
    assert both.values == [True, False, "normal"]
    assert one.values == ["normal"]
    assert [len(sink.writes) for sink in (both, twin, one)] == [1, 1, 1]
    assert both.writes[0] is twin.writes[0]


async def test_after_unbind_nothing_comes_not_even_what_waited(house: House) -> None:
    sink, other = Sink(), Sink()
    house.bind(sink)
    house.bind(other)
    house.set("locked", value=True)
    house.bindings.unbind(sink.listener, LOCKED)
    await turn()
    assert (sink.values, other.values) == ([], [True])
    house.bindings.leave(other.listener)
    assert len(house.bindings) == 0
    house.set("locked", value=False)
    await turn()
    assert other.values == [True]


async def test_who_binds_within_the_turn_gets_the_newest_value_once(house: House) -> None:
    first, second = Sink(), Sink()
    house.bind(first)
    house.set("locked", value=True)
    house.bind(second)
    await turn()
    assert first.values == second.values == [True]


async def test_a_slow_socket_gets_the_last_values_when_it_has_drained(house: House) -> None:
    """And nothing for what is again as it was."""
    slow, quick = Sink(), Sink()
    house.set("mode", "normal")
    for sink in (slow, quick):
        house.bind(sink)
        house.bind(sink, MODE)
    slow.unsent = LIMIT + 1
    for number in range(5):
        house.set("locked", number)
        await turn()
    house.set("mode", "held")
    house.set("mode", "normal")
    await turn()
    assert slow.values == ["normal"]
    assert quick.values == ["normal", 0, 1, 2, 3, 4, "held", "normal"]
    slow.unsent = 0
    slow.may_go_on.set()
    await turn()
    assert slow.values == ["normal", 4]
    house.set("locked", 5)
    await turn()
    assert slow.values == ["normal", 4, 5]


async def test_binding_while_slow(house: House) -> None:
    """The value comes when the socket has drained; what is unbound meanwhile does not."""
    slow = Sink()
    house.set("locked", value=True)
    house.set("mode", "normal")
    slow.unsent = LIMIT + 1
    house.bind(slow)
    house.bind(slow, MODE)
    house.bindings.unbind(slow.listener, MODE)
    assert slow.values == []
    slow.unsent = 0
    slow.may_go_on.set()
    await turn()
    assert slow.values == [True]
    assert len(house.bindings) == 1


async def test_who_leaves_while_slow_is_forgotten(house: House) -> None:
    slow = Sink()
    house.bind(slow)
    slow.unsent = LIMIT + 1
    house.set("locked", value=True)
    await turn()
    house.bindings.leave(slow.listener)
    slow.may_go_on.set()
    await turn()
    assert slow.values == []
    assert len(house.bindings) == 0


async def test_too_much_in_one_turn_is_its_last_value(house: House) -> None:
    house = House(most=100)
    sink = Sink()
    house.bind(sink)
    for number in range(50):
        house.set("locked", str(number) * 10)
    await turn()
    assert sink.values[-1] == "49" * 10
    assert len(sink.values) < 10


async def test_too_much_for_one_socket_is_sent_piece_by_piece() -> None:
    house = House(most=100)
    sink = Sink()
    for name in ("a", "b", "c"):
        house.bind(sink, Address("sys", "Door", 1, name))
    for name in ("a", "b", "c"):
        house.set(name, "x" * 90)
    await turn()
    assert sink.values == []
    sink.may_go_on.set()
    await turn()
    assert sink.values == ["x" * 90] * 3
    assert len(sink.writes) == 3


async def test_pos_08_a_binding_made_before_its_module_exists(house: House) -> None:
    sink = Sink()
    address = Address("sys", "Door", 2, "locked")
    house.bind(sink, address)
    house.set("locked", True, "mod-2")
    await turn()
    assert sink.values == []
    house.places["sys", "Door", 2] = "mod-2"
    house.bindings.moved(["sys", "other"])
    house.set("locked", False, "mod-2")
    await turn()
    assert sink.values == [True, False]
    del house.places["sys", "Door", 2]
    house.bindings.moved()
    house.set("locked", True, "mod-2")
    await turn()
    assert sink.values == [True, False, None]


async def test_another_module_with_the_same_value_is_no_news(house: House) -> None:
    sink = Sink()
    house.set("locked", value=True)
    house.bind(sink)
    house.variables["mod-9", "locked"] = b"true"
    house.places["sys", "Door", 1] = "mod-9"
    house.bindings.moved(["sys"])
    await turn()
    assert sink.values == [True]
    house.set("locked", False, "mod-9")
    house.bindings.changed("mod-1", "locked", b"7")
    await turn()
    assert sink.values == [True, False]


async def test_a_variable_without_value_any_more_is_null(house: House) -> None:
    sink = Sink()
    house.set("locked", value=True)
    house.bind(sink)
    house.bindings.changed("mod-1", "locked", None)
    await turn()
    assert sink.values == [True, None]


async def test_a_broken_socket_harms_no_other(house: House) -> None:
    broken, sound = Sink(), Sink()
    house.bind(broken)
    house.bind(sound)

    def fail(_: bytes) -> None:
        raise RuntimeError("gone")

    broken.listener.write = fail
    house.set("locked", value=True)
    await turn()
    assert sound.values == [True]


async def test_sockets_are_asked_what_is_unsent_only_when_it_can_be_much() -> None:
    """To ask a thousand sockets before each write would cost a quarter of what the writes cost."""
    house, sink, asked = House(behind_at=2000), Sink(), []
    sink.listener.unsent = lambda: asked.append(len(sink.writes)) or sink.unsent
    house.bind(sink)
    for number in range(40):
        house.set("locked", number)
        await turn()
    size = len(sink.writes[-1])
    assert len(asked) < 8
    sink.unsent = 2001
    for number in range(40, 80):
        house.set("locked", number)
        await turn()
    assert len(sink.writes) <= 40 + 1000 // size + 1, "not much more than the limit"
