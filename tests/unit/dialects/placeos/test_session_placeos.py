"""The session's decisions, without a socket."""

from __future__ import annotations

import json
from typing import Any

import pytest

from doorstream.dialects.placeos.errors import Code, SocketError
from doorstream.dialects.placeos.messages import Address, Form
from doorstream.dialects.placeos.session import (
    MAX_BINDINGS,
    MAX_EXECUTING,
    MAX_SUSPICIONS,
    MAX_WAITING,
    MAX_WAITING_BYTES,
    Bind,
    Close,
    Execute,
    Follow,
    Send,
    Session,
    Suspect,
    Unbind,
    Unfollow,
)
from doorstream.drivers.callers import Level


def _raise(error: Exception) -> Level:
    raise error


class World:
    """One system ``sys`` with ``Door`` 1 and 2, whose ids are ``mod-1`` and ``mod-2``."""

    def __init__(self, level: Level = "user") -> None:
        self.may: Level = level
        self.modules = {("Door", 1): "mod-1", ("Door", 2): "mod-2"}

    def level(self, system_id: str) -> Level:
        if system_id == "foreign":
            raise SocketError(Code.ACCESS_DENIED, "no")
        if system_id != "sys":
            raise SocketError(Code.SYSTEM_NOT_FOUND, "none")
        return self.may

    def module_at(self, address: Address) -> str | None:
        return self.modules.get((address.mod, address.ordinal))

    def module_of(self, system_id: str, module_id: str) -> bool:
        return system_id == "sys" and module_id in self.modules.values()


@pytest.fixture
def session() -> Session:
    return Session(World(), Form.STRING)


def command(cmd: str, **more: Any) -> str:
    return json.dumps({"id": 1, "cmd": cmd, "sys": "sys", "mod": "Door", "index": 1, "name": "locked"} | more)


def sent(action: Any) -> Any:
    assert isinstance(action, Send)
    return json.loads(action.message)


def test_ping(session: Session) -> None:
    assert session.receive("ping") == (Send(b"pong"),)


@pytest.mark.parametrize("cmd", ["bind", "unbind", "exec", "debug", "ignore"])
@pytest.mark.parametrize(("system", "code"), [("sys-unknown", 5), ("foreign", 2)])
def test_every_command_for_a_system_that_is_not_there_or_not_for_the_caller(
    session: Session, cmd: str, system: str, code: int
) -> None:
    (action,) = session.receive(command(cmd, sys=system))
    answer = sent(action)
    assert (answer["code"], answer["error_code"], answer["id"]) == (code, code, 1)


def test_a_second_bind_only_gets_success(session: Session) -> None:
    (first,) = session.receive(command("bind"))
    (second,) = session.receive(command("bind", id=2))
    assert isinstance(first, Bind)
    assert sent(second)["type"] == "success"
    unbind, answer = session.receive(command("unbind", id=3))
    assert isinstance(unbind, Unbind)
    assert sent(answer)["meta"]["name"] == "locked"
    (third,) = session.receive(command("bind", id=4))
    assert isinstance(third, Bind)


def test_what_is_bound_can_be_unbound_when_its_system_is_gone() -> None:
    world = World()
    session = Session(world, Form.STRING)
    session.receive(command("bind"))
    world.level = lambda _: _raise(SocketError(Code.SYSTEM_NOT_FOUND, "none"))  # type: ignore[method-assign]
    unbind, answer = session.receive(command("unbind", id=2))
    assert isinstance(unbind, Unbind)
    assert sent(answer)["type"] == "success"
    (again,) = session.receive(command("unbind", id=3))
    assert sent(again)["code"] == Code.SYSTEM_NOT_FOUND


def test_modules_with_an_underscore_need_support() -> None:
    world = World()
    session = Session(world, Form.STRING)
    (action,) = session.receive(command("bind", mod="_TRIGGER_"))
    assert sent(action)["code"] == Code.ACCESS_DENIED
    world.may = "support"
    (action,) = session.receive(command("bind", mod="_TRIGGER_"))
    assert isinstance(action, Bind)


def test_bindings_are_bounded(session: Session) -> None:
    for number in range(MAX_BINDINGS):
        session.receive(command("bind", name=str(number)))
    (action,) = session.receive(command("bind", name="one more"))
    assert sent(action)["code"] == Code.REQUEST_FAILED


def test_what_waits_is_bounded_in_bytes(session: Session) -> None:
    """2,000 executions with arguments of 90 kB each once waited in 180 MB. What has had its turn no longer counts."""
    for _ in range(MAX_EXECUTING):
        session.receive(command("exec"))
    large = command("exec", args=["ä" * 50_000])
    size, waiting = len(large.encode()), 0
    while not (refused := session.receive(large)):
        waiting += 1
    assert waiting == MAX_WAITING_BYTES // size
    answer = sent(refused[0])
    assert (answer["code"], answer["id"]) == (Code.REQUEST_FAILED, 1)
    (begun,) = session.executed()
    assert isinstance(begun, Execute)
    assert begun.request.args == ["ä" * 50_000]
    assert session.receive(large) == ()


def test_executions_beyond_the_bound_wait_for_their_turn(session: Session) -> None:
    for _ in range(MAX_EXECUTING):
        (action,) = session.receive(command("exec"))
        assert isinstance(action, Execute)
    assert session.receive(command("exec", id="waits")) == ()
    (action,) = session.executed()
    assert isinstance(action, Execute)
    assert action.request.id == b'"waits"'
    assert session.executed() == ()
    (action,) = session.receive(command("exec"))
    assert isinstance(action, Execute)


def test_what_waits_is_bounded_too(session: Session) -> None:
    for _ in range(MAX_EXECUTING + MAX_WAITING):
        session.receive(command("exec"))
    (action,) = session.receive(command("exec"))
    assert sent(action)["code"] == Code.REQUEST_FAILED


@pytest.mark.parametrize("mod", ["mod-2", "Door"])
def test_pos_11_debug_by_id_and_by_name(session: Session, mod: str) -> None:
    """The key is the module's id: it makes no difference by which name it is followed and ignored."""
    answer, follow = session.receive(command("debug", mod=mod, index=2))
    assert sent(answer)["mod_id"] == "mod-2"
    assert isinstance(follow, Follow)
    assert follow.module_id == "mod-2"
    (again,) = session.receive(command("debug", mod="mod-2"))
    assert sent(again)["type"] == "success"
    other = {"mod-2": "Door", "Door": "mod-2"}[mod]
    unfollow, answer = session.receive(command("ignore", mod=other, index=2))
    assert unfollow == Unfollow("mod-2")
    assert sent(answer) == {"id": 1, "type": "success"}
    (answer,) = session.receive(command("ignore", mod=other, index=2))
    assert sent(answer) == {"id": 1, "type": "success"}


def test_what_is_followed_can_be_ignored_when_its_system_is_gone(session: Session) -> None:
    session.receive(command("debug"))
    unfollow, _ = session.receive(command("ignore", sys="sys-deleted", mod="mod-1"))
    assert unfollow == Unfollow("mod-1")


@pytest.mark.parametrize("cmd", ["exec", "debug"])
def test_pos_09_no_such_module_is_code_6(session: Session, cmd: str) -> None:
    for more in ({"mod": "Window"}, {"index": 3}, {"index": 0}, {"mod": "mod-3"}):
        (action,) = session.receive(command(cmd, **more))
        assert sent(action)["code"] == Code.MODULE_NOT_FOUND


def test_a_suspicious_client_is_counted_and_finally_closed(session: Session) -> None:
    """Every message is answered, the last one too."""
    for number in range(1, MAX_SUSPICIONS):
        answer, suspect = session.receive('{"id":1,"cmd":"dance"}' if number % 2 else "{")
        assert sent(answer)["code"] == (Code.UNKNOWN_COMMAND if number % 2 else Code.PARSE_ERROR)
        assert isinstance(suspect, Suspect)
        assert suspect.count == number
    session.receive(command("bind", mod=1))  # a mistake, but a command
    answer, _, close = session.receive("{")
    assert sent(answer)["code"] == Code.PARSE_ERROR
    assert isinstance(close, Close)
