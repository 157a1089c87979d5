"""From a status variable that changes to every socket that is bound to it, at one write for each.

Sockets with the same bind id, address and form of values are a group: a value is written once for each form, its frame
once for each group. What changes within one turn of the event loop is joined and written with one ``write`` for each
socket. A socket that does not keep up is taken out of its groups and gets, when it has drained, the last value of what
changed meanwhile: a variable is a state, so what was skipped is not missed.

An address (system, module, index) is a *slot*. Which module that is can change: the groups of the slot follow, so that
a binding made before its module exists begins to report when the module appears.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

import structlog

from doorstream.dialects.placeos.messages import Address, Form, Notify, Value

_logger = structlog.get_logger(__name__)

DIALECT = "placeos"

_HEADS_KEPT = 4096
_BROKEN = "a connection cannot be written to"

MAX_JOINED = 256_000
"""Bytes for one socket in one turn beyond which last values only are sent, and one after the other."""

Write = Callable[[bytes], None]
Place = tuple[str, str, int]
"""A slot's name: system, module, index."""


class Listener:
    """One socket's bindings.

    ``write`` takes frames, ``unsent`` gives the bytes that wait to be taken, ``drained`` waits until they are few.
    """

    __slots__ = ("behind", "drained", "groups", "task", "unsent", "write")

    def __init__(self, write: Write, unsent: Callable[[], int], drained: Callable[[], Awaitable[None]]) -> None:
        self.write = write
        self.unsent = unsent
        self.drained = drained
        self.groups: dict[Address, Group] = {}
        self.behind: dict[Group, Value | None] | None = None
        """While the socket does not keep up: the last value that it got, for each of its groups."""
        self.task: asyncio.Task[None] | None = None


class Key(NamedTuple):
    """What the sockets of a group have in common."""

    address: Address
    request_id: bytes
    form: Form


class Group:
    """The sockets that get the very same frames."""

    __slots__ = ("bound", "checked", "key", "last", "members", "notify", "pending", "sent", "size")

    def __init__(self, key: Key) -> None:
        self.key = key
        self.notify = Notify(key.request_id, key.address, key.form)
        self.members: dict[Listener, Write] = {}
        self.checked = 0
        """How much had been written to whomever when the members were last asked how much they have unsent."""
        self.bound = 0
        """How many sockets are bound: the members, and those that do not keep up."""
        self.pending: list[Value] = []
        self.size = 0
        self.last: Value | None = None
        """The newest value, written or about to be."""
        self.sent: Value | None = None
        """What members had when the group was last written to."""

    def pend(self, value: Value, most: int) -> None:
        """Have a value written at the end of the turn; of more than ``most`` bytes only the last is."""
        self.last = value
        self.size += len(value.json)
        if self.size > most:
            self.pending = [value]
            self.size = len(value.json)
        else:
            self.pending.append(value)


class _Slot:
    """A place, the module that is there now, and the groups by variable."""

    __slots__ = ("groups", "module_id")

    def __init__(self, module_id: str | None) -> None:
        self.module_id = module_id
        self.groups: dict[str, dict[Key, Group]] = {}


class Bindings:
    """All bindings of a worker. ``frame_head`` gives what goes before a message of a length.

    ``resolve`` says which module is at a place, ``value_of`` what a variable's JSON is now. Beyond ``behind_at`` unsent
    bytes, give or take a half, a socket gets last values only; ``most`` bytes are joined for one socket in one turn.
    """

    def __init__(
        self,
        resolve: Callable[[Place], str | None],
        value_of: Callable[[str, str], bytes | None],
        frame_head: Callable[[int], bytes],
        *,
        behind_at: int,
        most: int = MAX_JOINED,
    ) -> None:
        self._written = 0
        self._unchecked = behind_at // 2
        self.delivered: Counter[str] = Counter()
        """Notifications that were written, under the dialect's name."""
        self._behind_at = behind_at
        self._most = most
        self._resolve = resolve
        self._value_of = value_of
        self._frame_head = lru_cache(_HEADS_KEPT)(frame_head)
        self._slots: dict[Place, _Slot] = {}
        self._by_system: dict[str, dict[Place, None]] = {}
        self._by_variable: dict[tuple[str, str], dict[Group, None]] = {}
        self._dirty: list[Group] = []
        self._is_scheduled = False

    def __len__(self) -> int:
        """How many groups there are."""
        return sum(len(groups) for slot in self._slots.values() for groups in slot.groups.values())

    def bind(self, listener: Listener, request_id: bytes, address: Address, form: Form) -> bytes | None:
        """Bind a socket; returns the frame that tells the present value, to be written after the success.

        None where there is no value yet, where the variable is bound already, or where the socket has too much unsent
        for now and will get the value later.
        """
        if address in listener.groups:
            return None
        key = Key(address, request_id, form)
        group = self._group(key)
        if group.pending:
            self._flush([group])
            group = self._group(key)  # asked again: who is written to may leave, and the group ends
        listener.groups[address] = group
        group.bound += 1
        if listener.behind is None and listener.unsent() > self._behind_at:
            self._fall_behind(listener)
        if listener.behind is not None:
            listener.behind[group] = None
            return None
        group.members[listener] = listener.write
        return self._frame(group.notify, group.last) if group.last is not None else None

    def unbind(self, listener: Listener, address: Address) -> None:
        """End a binding, if there is one."""
        group = listener.groups.pop(address, None)
        if group is not None:
            if listener.behind is not None:
                listener.behind.pop(group, None)
            self._leave(group, listener)

    def leave(self, listener: Listener) -> None:
        """End all bindings of a socket: it is gone."""
        if listener.task is not None:
            listener.task.cancel()
        listener.behind = None
        groups, listener.groups = listener.groups, {}
        for group in groups.values():
            self._leave(group, listener)

    def changed(self, module_id: str, variable: str, json: bytes | None) -> None:
        """A variable has another value; None: it has none any more, which is told as ``null``."""
        groups = self._by_variable.get((module_id, variable))
        if groups:
            value = Value(b"null" if json is None else json)
            for group in groups:
                self._pend(group, value)

    def moved(self, systems: Iterable[str] | None = None) -> None:
        """Other modules may be at the places of some systems (None: of all)."""
        places = self._slots if systems is None else [each for sys in systems for each in self._by_system.get(sys, ())]
        for place in tuple(places):
            slot = self._slots[place]
            module_id = self._resolve(place)
            if module_id != slot.module_id:
                self._move(slot, module_id)

    def _move(self, slot: _Slot, module_id: str | None) -> None:
        old, slot.module_id = slot.module_id, module_id
        for variable, groups in slot.groups.items():
            for group in groups.values():
                self._unfollow(old, variable, group)
                self._follow(module_id, variable, group)
                json = self._value_of(module_id, variable) if module_id is not None else None
                was = group.last.json if group.last is not None else b"null"
                if (json or b"null") != was:
                    self._pend(group, Value(json or b"null"))

    def _group(self, key: Key) -> Group:
        address = key.address
        place = (address.sys, address.mod, address.ordinal)
        slot = self._slots.get(place)
        if slot is None:
            slot = self._slots[place] = _Slot(self._resolve(place))
            self._by_system.setdefault(address.sys, {})[place] = None
        groups = slot.groups.setdefault(address.name, {})
        group = groups.get(key)
        if group is None:
            group = groups[key] = Group(key)
            self._follow(slot.module_id, address.name, group)
            json = self._value_of(slot.module_id, address.name) if slot.module_id is not None else None
            group.last = group.sent = Value(json) if json is not None else None
        return group

    def _leave(self, group: Group, listener: Listener) -> None:
        """What waits to be written is not for somebody who has left."""
        group.members.pop(listener, None)
        group.bound -= 1
        if group.bound:
            return
        group.pending = []
        address = group.key.address
        place = (address.sys, address.mod, address.ordinal)
        slot = self._slots[place]
        self._unfollow(slot.module_id, address.name, group)
        groups = slot.groups[address.name]
        del groups[group.key]
        if not groups:
            del slot.groups[address.name]
        if not slot.groups:
            del self._slots[place]
            places = self._by_system[address.sys]
            del places[place]
            if not places:
                del self._by_system[address.sys]

    def _follow(self, module_id: str | None, variable: str, group: Group) -> None:
        if module_id is not None:
            self._by_variable.setdefault((module_id, variable), {})[group] = None

    def _unfollow(self, module_id: str | None, variable: str, group: Group) -> None:
        if module_id is None:
            return
        groups = self._by_variable[module_id, variable]
        del groups[group]
        if not groups:
            del self._by_variable[module_id, variable]

    def _pend(self, group: Group, value: Value) -> None:
        if not group.pending:
            self._dirty.append(group)
            if not self._is_scheduled:
                self._is_scheduled = True
                asyncio.get_running_loop().call_soon(self._flush_all)
        group.pend(value, self._most)

    def _flush_all(self) -> None:
        self._is_scheduled = False
        dirty, self._dirty = self._dirty, []
        self._flush([group for group in dirty if group.pending])

    def _flush(self, groups: Sequence[Group]) -> None:
        """Write what waits to the members of these groups."""
        if len(groups) == 1:
            self._write_group(groups[0])
        elif groups:
            self._write_joined(groups)
        for group in groups:
            group.sent = group.last

    def _frame(self, notify: Notify, value: Value) -> bytes:
        message = notify.encode(value)
        return self._frame_head(len(message)) + message

    def _frames(self, group: Group) -> bytes:
        """What waits, in one piece. A thousand groups of one socket each come by here for a single change."""
        values, group.pending, group.size = group.pending, [], 0
        self.delivered[DIALECT] += len(values) * len(group.members)
        notify = group.notify
        head, form, tail, around = notify.head, notify.form, notify.tail, notify.size
        parts: list[bytes] = []
        for value in values:
            written = value.json if form is Form.JSON else value.written(form)
            parts += (self._frame_head(around + len(written)), head, written, tail)
        return b"".join(parts)

    def _write_group(self, group: Group) -> None:
        """Write to all members. How much they have unsent is asked only when it can have become too much."""
        data = self._frames(group)
        self._written += len(data)
        if self._written - group.checked > self._unchecked:
            group.checked = self._written
            self._write_to(tuple(group.members), data)
            return
        unwritten = iter(tuple(group.members.values()))
        while True:
            try:
                for write in unwritten:
                    write(data)
                break
            except Exception:  # one connection's fault is not the others'
                _logger.exception(_BROKEN)

    def _write_joined(self, groups: Sequence[Group]) -> None:
        """One write for each socket, whichever of the groups it is in; sockets in the same ones share the bytes."""
        parts: dict[Listener, list[bytes]] = {}
        for group in groups:
            frames = self._frames(group)
            self._written += len(frames)
            for listener in group.members:
                known = parts.get(listener)
                if known is None:
                    parts[listener] = [frames]
                else:
                    known.append(frames)
        joined: dict[tuple[int, ...], bytes] = {}
        for listener, frames_of in parts.items():
            if len(frames_of) == 1:
                self._write_to((listener,), frames_of[0])
                continue
            same = tuple(map(id, frames_of))
            data = joined.get(same)
            if data is None:
                data = joined[same] = b"".join(frames_of)
            if len(data) > self._most:
                self._fall_behind(listener)
            else:
                self._write_to((listener,), data)

    def _write_to(self, listeners: Iterable[Listener], data: bytes) -> None:
        limit = self._behind_at
        for listener in listeners:
            if listener.unsent() > limit:
                self._fall_behind(listener)
                continue
            try:
                listener.write(data)
            except Exception:  # one connection's fault is not the others'
                _logger.exception(_BROKEN)

    def _fall_behind(self, listener: Listener) -> None:
        """Take a socket out of its groups until it has drained."""
        if listener.behind is None:
            listener.behind = {}
        for group in listener.groups.values():
            if listener in group.members:
                del group.members[listener]
                listener.behind[group] = group.sent
        if listener.task is None:
            listener.task = asyncio.get_running_loop().create_task(self._catch_up(listener))

    async def _catch_up(self, listener: Listener) -> None:
        """Write the last values, as fast as the socket takes them, and put it back into its groups."""
        while listener.behind:
            await listener.drained()
            while listener.behind and listener.unsent() <= self._behind_at:
                self._rejoin(listener, *listener.behind.popitem())
        listener.behind = None
        listener.task = None

    def _rejoin(self, listener: Listener, group: Group, seen: Value | None) -> None:
        if group.pending:
            self._flush([group])
        last = group.last
        group.members[listener] = listener.write  # before it is written to: then it may leave
        if last is not None and (seen is None or seen.json != last.json):
            listener.write(self._frame(group.notify, last))
