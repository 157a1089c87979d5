"""Following variables by module name and index: whichever module has that place, also one that comes later."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import structlog

from doorstream.drivers.driver import Handle

_logger = structlog.get_logger(__name__)

Receive = Callable[["bytes | None"], object]


@dataclass(frozen=True, slots=True)
class Place:
    """A module of a site by name and index (from 1)."""

    site_id: str
    name: str
    index: int


class _Follower:
    """One subscription; ``seen`` is the module whose value was told last."""

    __slots__ = ("_leave", "receive", "value", "variable")

    def __init__(self, variable: str, receive: Receive, leave: Callable[[_Follower], None]) -> None:
        self.variable = variable
        self.receive = receive
        self.value: bytes | None = None
        self._leave = leave

    def cancel(self) -> None:
        self._leave(self)

    def tell(self, value: bytes | None) -> None:
        """Hand on a value that is not the one that was told last."""
        if value == self.value:
            return
        self.value = value
        try:
            self.receive(value)
        except Exception:  # one follower's mistake must not keep the others from it
            _logger.exception("a follower of a status variable failed")


class Followers:
    """All subscriptions of modules to modules.

    ``resolve`` gives the id of the module that has a place, ``place_of`` the place of a module, ``value`` a variable.
    """

    def __init__(
        self,
        resolve: Callable[[Place], str | None],
        place_of: Callable[[str], Place | None],
        value: Callable[[str, str], bytes | None],
    ) -> None:
        self._resolve = resolve
        self._place_of = place_of
        self._value = value
        self._followers: dict[Place, list[_Follower]] = {}

    def follow(self, place: Place, variable: str, receive: Receive) -> Handle:
        """Have ``receive`` called with the value now, if there is one, and with each change."""

        def leave(follower: _Follower) -> None:
            followers = self._followers.get(place, [])
            if follower in followers:
                followers.remove(follower)
                if not followers:
                    del self._followers[place]

        follower = _Follower(variable, receive, leave)
        self._followers.setdefault(place, []).append(follower)
        follower.tell(self._current(place, variable))
        return follower

    def changed(self, module_id: str, variable: str, value: bytes | None) -> None:
        """A module's variable has another value."""
        place = self._place_of(module_id) if self._followers else None
        for follower in tuple(self._followers.get(place, ())) if place is not None else ():
            if follower.variable == variable:
                follower.tell(value)

    def moved(self, site_id: str) -> None:
        """The modules of a site are others, or have other places."""
        for place in [place for place in self._followers if place.site_id == site_id]:
            for follower in tuple(self._followers[place]):
                follower.tell(self._current(place, follower.variable))

    def _current(self, place: Place, variable: str) -> bytes | None:
        module_id = self._resolve(place)
        return None if module_id is None else self._value(module_id, variable)
