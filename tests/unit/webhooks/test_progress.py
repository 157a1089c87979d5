"""How far a webhook is in the log."""

from __future__ import annotations

from collections.abc import Iterable

from doorstream.webhooks.progress import Progress


def progress(after: int = 0, finished: Iterable[int] = ()) -> Progress:
    made = Progress()
    made.begin(after, set(finished))
    return made


def read(made: Progress, *places: int) -> list[int]:
    """Come to these, and open those that are to be taken, which are returned."""
    taken = [place for place in places if made.come_to(place)]
    for place in taken:
        made.open(place)
    return taken


def test_each_is_taken_once() -> None:
    made = progress(2)
    assert read(made, 1, 2, 3, 4, 4, 3, 6) == [3, 4, 6]
    assert made.read == 6
    assert len(made) == 3


def test_what_was_finished_before_is_not_taken() -> None:
    made = progress(2, {4, 5})
    assert read(made, 3, 4, 5, 6) == [3, 6]
    assert made.finished_upto(6) == 2


def test_all_is_finished_before_the_first_that_is_open() -> None:
    """Whatever order they end in, and also after more was read."""
    made = progress()
    read(made, 2, 3, 5)
    assert made.finished_upto(9) == 1
    made.finish(3)
    assert made.finished_upto(9) == 1
    made.finish(2)
    assert made.finished_upto(9) == 4
    made.finish(5)
    assert made.finished_upto(9) == 9


def test_only_what_was_put_back_is_taken_again() -> None:
    made = progress()
    read(made, 1, 2, 3, 4, 5)
    made.finish(4)
    made.put_back([3, 5])
    assert len(made) == 2
    assert made.read == 2
    assert read(made, 1, 2, 3, 4, 5, 6) == [3, 5, 6]


def test_what_was_put_back_is_not_finished() -> None:
    made = progress()
    read(made, 1, 2, 3)
    made.finish(1)
    made.finish(3)
    made.put_back([2])
    assert made.finished_upto(9) == 1
    read(made, 2)
    assert made.finished_upto(9) == 1
    made.finish(2)
    assert made.finished_upto(9) == 9


def test_some_can_be_put_back_twice() -> None:
    """The second time the log was not yet read again up to where the first time began."""
    made = progress()
    read(made, 1, 2, 3, 4)
    made.put_back([2, 4])
    made.finish(1)
    made.finish(3)
    assert read(made, 2) == [2]
    made.put_back([2])
    assert made.finished_upto(9) == 1
    assert read(made, 2, 3, 4, 5) == [2, 4, 5]


def test_putting_nothing_back_changes_nothing() -> None:
    made = progress()
    read(made, 1, 2)
    made.put_back([])
    assert made.read == 2
    assert read(made, 1, 2, 3) == [3]


def test_it_never_goes_back_to_what_was_passed() -> None:
    made = progress(5)
    made.pass_to(8)
    assert made.read == 8
    made.pass_to(6)
    assert made.read == 8


def test_what_the_log_lost_is_not_waited_for() -> None:
    made = progress()
    read(made, *range(1, 7))
    for place in (1, 2):
        made.finish(place)
    made.put_back([3, 4, 5, 6])
    made.lose(4)
    assert made.finished_upto(4) == 4
    assert read(made, 4, 5, 6, 7) == [5, 6, 7]
