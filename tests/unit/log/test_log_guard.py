"""Whether the log is still the one that was opened."""

from types import SimpleNamespace

from doorstream.log.guard import ReplacementGuard
from doorstream.log.snapshot import EPOCH_KEY
from doorstream.log.stream import Extent


async def test_an_answer_of_before_says_nothing_of_the_new_connection():
    """It came just before the connection broke, and what was appended next went to a store that nobody had compared."""
    guard = ReplacementGuard(SimpleNamespace())
    guard._epoch = "e"

    async def look():
        guard._disconnected()
        return {EPOCH_KEY: "e"}, Extent(1, 7)

    guard._stream = SimpleNamespace(look=look)
    assert await guard.extent() == (1, 7)
    assert not guard.is_checked

    async def look_again():
        return {EPOCH_KEY: "e"}, Extent(1, 7)

    guard._stream = SimpleNamespace(look=look_again)
    await guard.extent()
    assert guard.is_checked


async def test_whoever_wants_to_know_too_late_is_told_at_once():
    """A log that was replaced while a worker was still beginning ended nobody: it refused every event for ever."""
    guard = ReplacementGuard(SimpleNamespace())
    told = []
    guard.on_replaced(lambda: told.append("early"))
    guard._replaced("it is gone")
    guard._replaced("it is gone")
    guard.on_replaced(lambda: told.append("late"))
    assert told == ["early", "late"]
