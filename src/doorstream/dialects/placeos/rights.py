"""Who may do what: levels from a client's scopes or a user's role, and the scopes of tokens.

PlaceOS knows users, support and administrators (vendor-apis.md 2.2, "exec rights"). Here a client has its level by
scope: ``placeos``, ``placeos:support`` or ``admin``; a user by the role at the site. PlaceOS has no rights that stop at
one's own movements, as a ``site_user`` has them (seed 003, SAL-11): such a role gives none here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from doorstream.auth import Principal
from doorstream.drivers import Caller, Level

PUBLIC = "public"
"""The scope of a token that grants everything that its owner may."""

RANKS: Mapping[Level, int] = {"user": 1, "support": 2, "administrator": 3}

_SCOPES: Mapping[str, Level] = {"admin": "administrator", "placeos:support": "support", "placeos": "user"}
_ROLES: Mapping[str, Level] = {"site_admin": "administrator", "site_super_user": "support"}

Access = Literal["read", "write"]


@dataclass(frozen=True, slots=True)
class Identity:
    """An authenticated caller, and the scopes of its token (an API key has ``public``)."""

    principal: Principal
    scopes: frozenset[str] = frozenset({PUBLIC})

    def may_use(self, resource: str, access: Access) -> bool:
        """Tell whether the token is for that (vendor-apis.md 2.1, facts 4 and 7): ``systems.read``, or ``systems``."""
        return bool(self.scopes & {PUBLIC, resource, f"{resource}.{access}"})

    @property
    def is_known(self) -> bool:
        """Whether the caller has anything to do with PlaceOS at all."""
        if self.principal.kind == "user":
            return any(role in _ROLES for role in self.principal.roles.values())
        return any(scope in self.principal.scopes for scope in _SCOPES)

    def level_at(self, site_id: str) -> Level | None:
        """What the caller may do at a site; None: nothing."""
        principal = self.principal
        if not principal.sees(site_id):
            return None
        if principal.kind == "user":
            return _ROLES.get(principal.roles[site_id])
        return next((level for scope, level in _SCOPES.items() if scope in principal.scopes), None)

    @property
    def level(self) -> Level:
        """The highest level that the caller has anywhere, for what belongs to no site."""
        levels: list[Level] = ["user"]
        if self.principal.kind == "user":
            levels += [level for role in self.principal.roles.values() if (level := _ROLES.get(role)) is not None]
        else:
            levels += [level for scope, level in _SCOPES.items() if scope in self.principal.scopes]
        return max(levels, key=RANKS.__getitem__)

    def caller_at(self, site_id: str) -> Caller:
        """The caller as modules see it; the caller of this function looked at ``level_at``."""
        return Caller(self.principal.id, self.principal.name, self.level_at(site_id) or "user", "placeos")


def reaches(level: Level | None, needed: Level) -> bool:
    """Tell whether a level is enough."""
    return level is not None and RANKS[level] >= RANKS[needed]
