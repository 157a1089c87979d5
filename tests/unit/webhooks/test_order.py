"""The lines of an ordered webhook."""

from __future__ import annotations

from doorstream.webhooks.order import Lines


def test_one_of_a_line_at_a_time() -> None:
    lines: Lines[str] = Lines()
    assert lines.enter("door", "a")
    assert not lines.enter("door", "b")
    assert lines.enter("gate", "c")
    assert lines.leave("door") == "b"
    assert lines.leave("door") is None
    assert lines.enter("door", "d")


def test_a_blocked_line_takes_nobody_in() -> None:
    lines: Lines[str] = Lines()
    lines.enter("door", "a")
    lines.enter("door", "b")
    assert lines.block("door") == ["b"]
    assert not lines.enter("door", "c")
    assert lines.is_blocked("door")
    lines.free("door")
    assert lines.enter("door", "d")


def test_nobody_looks_while_something_is_on_its_way_to_the_ledger() -> None:
    lines: Lines[str] = Lines()
    lines.block("door")
    lines.noting("door")
    lines.noting("door")
    assert not lines.may_look("door")
    assert not lines.noted("door")
    assert lines.noted("door"), "somebody wanted to look"
    assert lines.may_look("door")
    assert lines.count("door") == 2


def test_who_waits_in_memory_can_be_dropped() -> None:
    lines: Lines[str] = Lines()
    lines.enter("door", "a")
    lines.enter("door", "b")
    assert lines.drop_behind() == ["b"]
    assert lines.leave("door") is None
