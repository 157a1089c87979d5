"""One control socket's state machine. Pure: messages come in, commands for the shell go out.

Everything is answered (D5). Which systems there are and what the client may do in them is asked each time, so that
nothing here goes stale.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from doorstream.dialects.placeos.errors import Code, SocketError
from doorstream.dialects.placeos.messages import (
    PING,
    PONG,
    Address,
    BadMessage,
    Form,
    Kind,
    Log,
    Request,
    debugging,
    failure,
    parse,
    success,
)
from doorstream.dialects.placeos.rights import reaches
from doorstream.drivers import Level

MAX_SUSPICIONS = 100
"""Messages that are no commands after which a client is disconnected."""

MAX_BINDINGS = 10_000
"""Variables that one socket may be bound to."""

MAX_EXECUTING = 100
"""Executions of one socket that run at the same time."""

MAX_WAITING = 2_000
"""Executions of one socket that wait beyond them."""

MAX_WAITING_BYTES = 4_000_000
"""Bytes of the messages that ask for those."""


class Sight(Protocol):
    """What the client can see now."""

    def level(self, system_id: str) -> Level:
        """What it may do in a system; raises SocketError for one that does not exist or is not for it."""

    def module_at(self, address: Address) -> str | None:
        """The id of the module at that name and index."""

    def module_of(self, system_id: str, module_id: str) -> bool:
        """Whether the system has a module of that id."""


@dataclass(frozen=True, slots=True)
class Send:
    """Write that message."""

    message: bytes


@dataclass(frozen=True, slots=True)
class Bind:
    """Write the success, then the value that the variable has, then each other."""

    request: Request
    success: bytes


@dataclass(frozen=True, slots=True)
class Unbind:
    """Tell no more of that variable."""

    address: Address


@dataclass(frozen=True, slots=True)
class Execute:
    """Run a function on a module, beside whatever else goes on; then call ``executed``."""

    request: Request
    module_id: str


@dataclass(frozen=True, slots=True)
class Follow:
    """Write each line of a module's log."""

    module_id: str
    log: Log


@dataclass(frozen=True, slots=True)
class Unfollow:
    """Write no more of them."""

    module_id: str


@dataclass(frozen=True, slots=True)
class Suspect:
    """Log that the client does what no client should."""

    reason: str
    count: int


@dataclass(frozen=True, slots=True)
class Close:
    """Disconnect: the client is told why, and that it was its own doing."""

    reason: str


Action = Send | Bind | Unbind | Execute | Follow | Unfollow | Suspect | Close


class Session:
    """The server's side of one client. ``form`` is how it wants values (D4)."""

    __slots__ = ("_bound", "_executing", "_followed", "_sight", "_suspicions", "_waiting", "_waiting_bytes", "form")

    def __init__(self, sight: Sight, form: Form) -> None:
        self.form = form
        self._sight = sight
        self._suspicions = 0
        self._bound: set[Address] = set()
        self._followed: set[str] = set()
        self._executing = 0
        self._waiting: deque[tuple[bytes, str]] = deque()
        """Messages as they came, which are smaller than what they say, and the modules that they are for."""
        self._waiting_bytes = 0

    def receive(self, data: str | bytes) -> Sequence[Action]:
        """A message came."""
        if data == PING:
            return (Send(PONG.encode()),)
        try:
            request = parse(data)
        except BadMessage as bad:
            return self._bad(bad)
        try:
            return self._judged(request, data)
        except SocketError as error:
            return (Send(failure(request.id, error.code, str(error), request.address.json)),)

    def executed(self) -> Sequence[Action]:
        """An execution has ended: another may begin."""
        if self._waiting:
            data, module_id = self._waiting.popleft()
            self._waiting_bytes -= len(data)
            return (Execute(parse(data), module_id),)
        self._executing -= 1
        return ()

    def _judged(self, request: Request, data: str | bytes) -> Sequence[Action]:
        address = request.address
        if request.kind is Kind.IGNORE:
            return self._ignore(request)
        if request.kind is Kind.UNBIND:
            return self._unbind(request)
        level = self._sight.level(address.sys)
        match request.kind:
            case Kind.BIND:
                return self._bind(request, level)
            case Kind.DEBUG:
                return self._debug(request)
            case _:
                return self._execute(request, data)

    def _bind(self, request: Request, level: Level) -> Sequence[Action]:
        address = request.address
        if address.mod.startswith("_") and not reaches(level, "support"):
            raise SocketError(Code.ACCESS_DENIED, "modules whose names begin with _ need support rights")
        answer = success(request.id, address.json)
        if address in self._bound:
            return (Send(answer),)
        if len(self._bound) >= MAX_BINDINGS:
            raise SocketError(Code.REQUEST_FAILED, f"at most {MAX_BINDINGS} bindings for one connection")
        self._bound.add(address)
        return (Bind(request, answer),)

    def _unbind(self, request: Request) -> Sequence[Action]:
        """Always a success in a system that exists; for what is bound also when that is gone."""
        address = request.address
        if address not in self._bound:
            self._sight.level(address.sys)
        self._bound.discard(address)
        return Unbind(address), Send(success(request.id, address.json))

    def _execute(self, request: Request, data: str | bytes) -> Sequence[Action]:
        module_id = self._sight.module_at(request.address)
        if module_id is None:
            raise _no_module(request.address)
        if self._executing < MAX_EXECUTING:
            self._executing += 1
            return (Execute(request, module_id),)
        waiting = data.encode() if isinstance(data, str) else data
        if len(self._waiting) >= MAX_WAITING or self._waiting_bytes + len(waiting) > MAX_WAITING_BYTES:
            raise SocketError(Code.REQUEST_FAILED, "too many executions of this connection wait for their turn")
        self._waiting.append((waiting, module_id))
        self._waiting_bytes += len(waiting)
        return ()

    def _debug(self, request: Request) -> Sequence[Action]:
        address = request.address
        module_id = self._module(address)
        if module_id is None:
            raise _no_module(address)
        answer = Send(debugging(request.id, module_id, address.module_json))
        if module_id in self._followed:
            return (answer,)
        self._followed.add(module_id)
        return answer, Follow(module_id, Log(request.id, module_id, address))

    def _ignore(self, request: Request) -> Sequence[Action]:
        """Always a success in a system that exists; for what is followed also when that is gone."""
        address = request.address
        module_id: str | None = address.mod
        if module_id not in self._followed:
            self._sight.level(address.sys)
            module_id = self._sight.module_at(address)
        answer = Send(success(request.id))
        if module_id is None or module_id not in self._followed:
            return (answer,)
        self._followed.discard(module_id)
        return Unfollow(module_id), answer

    def _module(self, address: Address) -> str | None:
        """The module that is meant by its id, or by its name and index (D5)."""
        if self._sight.module_of(address.sys, address.mod):
            return address.mod
        return self._sight.module_at(address)

    def _bad(self, bad: BadMessage) -> Sequence[Action]:
        answer = Send(failure(bad.id, bad.code, str(bad)))
        if bad.code not in (Code.PARSE_ERROR, Code.UNKNOWN_COMMAND):
            return (answer,)
        self._suspicions += 1
        suspect = Suspect(str(bad), self._suspicions)
        if self._suspicions >= MAX_SUSPICIONS:
            return answer, suspect, Close("too many messages that are no commands")
        return answer, suspect


def _no_module(address: Address) -> SocketError:
    return SocketError(Code.MODULE_NOT_FOUND, f"{address.sys} has no module {address.mod} {address.ordinal}")
