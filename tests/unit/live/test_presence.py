"""Who is connected, looked through when rights change and when the server ends."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from doorstream.live import Presence


class Connection:
    """One that stands on rights; a broken one fails at everything."""

    def __init__(self, *, is_broken: bool = False) -> None:
        self.told: list[str] = []
        self._is_broken = is_broken

    def recheck(self) -> None:
        """Take note."""
        self._take("recheck")

    def end(self) -> None:
        """Take note."""
        self._take("end")

    def _take(self, what: str) -> None:
        if self._is_broken:
            raise RuntimeError("a fault of one connection")
        self.told.append(what)


@pytest.mark.parametrize("what", ["recheck", "end"])
def test_one_that_fails_keeps_nobody_else_from_it(what: str) -> None:
    """Whoever had entered after it was not looked at: of a revoked client's connections some would have stayed."""
    presence = Presence(lambda: 0.0)
    first, broken, last = Connection(), Connection(is_broken=True), Connection()
    for connection in (first, broken, last):
        presence.enter(connection)
    with capture_logs() as logs:
        (presence._recheck if what == "recheck" else presence.end_all)()
    assert (first.told, last.told) == ([what], [what])
    assert [line["log_level"] for line in logs] == ["error"]
