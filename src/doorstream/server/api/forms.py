"""What may be sent and what is shown: the entities' fields, with an id that the caller may choose and without secrets.

Keys that are not known are refused, so that a misspelt one is not silently ignored.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from pydantic import ConfigDict, with_config

from doorstream.events.entities import (
    ClientFields,
    CloudNode,
    CloudNodeFields,
    ConnectionFields,
    DeviceFields,
    HolderFields,
    SiteFields,
    UserFields,
)

_STRICT = ConfigDict(extra="forbid")


@with_config(_STRICT)
@dataclass(frozen=True, slots=True, kw_only=True)
class SiteForm(SiteFields):
    """A site to be created. The id is a UUID; without one the server makes it."""

    id: str | None = None


@with_config(_STRICT)
@dataclass(frozen=True, slots=True, kw_only=True)
class CloudNodeForm(CloudNodeFields):
    """A cloud node to be created."""

    id: str | None = None
    registered: bool = False


@with_config(_STRICT)
@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionForm(ConnectionFields):
    """A connection (controller) to be created."""

    id: str | None = None


@with_config(_STRICT)
@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceForm(DeviceFields):
    """A device to be created."""

    id: str | None = None


@with_config(_STRICT)
@dataclass(frozen=True, slots=True, kw_only=True)
class HolderForm(HolderFields):
    """A holder to be created. The PIN can be set and never read."""

    id: str | None = None
    pin: str | None = field(default=None, repr=False)


@with_config(_STRICT)
@dataclass(frozen=True, slots=True, kw_only=True)
class UserForm(UserFields):
    """A user to be created. The password can be set and never read."""

    id: str | None = None
    password: str | None = field(default=None, repr=False)


@with_config(_STRICT)
@dataclass(frozen=True, slots=True, kw_only=True)
class MemberForm:
    """A user of one site to be created: the role there, and which of its holders the user is."""

    username: str
    role: str
    name: str = ""
    holder_id: str | None = None
    disabled: bool = False
    id: str | None = None
    password: str | None = field(default=None, repr=False)


@with_config(_STRICT)
@dataclass(frozen=True, slots=True, kw_only=True)
class ClientForm(ClientFields):
    """A client to be created. Without ``secret`` the server makes one."""

    id: str | None = None
    secret: str | None = field(default=None, repr=False)


@with_config(_STRICT)
@dataclass(frozen=True, slots=True, kw_only=True)
class TokenForm:
    """What a token is wanted for: ``system`` is a PDK system token, ``ticket`` opens one event stream."""

    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudNodeView(CloudNode):
    """A cloud node, and whether it is online since when (milliseconds since 1970), as far as its events told."""

    connected: bool
    connection_changed: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HolderView(HolderFields):
    """A holder as it is shown."""

    id: str
    site_id: str
    created: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UserView(UserFields):
    """A user as it is shown."""

    id: str
    created: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberView:
    """A user as one site sees them."""

    id: str
    username: str
    name: str
    role: str
    holder_id: str | None
    disabled: bool
    created: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientView(ClientFields):
    """A client as it is shown."""

    id: str
    created: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSecret:
    """A client's new secret, shown this once, alone and as an API key."""

    id: str
    secret: str
    api_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientCreated(ClientView):
    """A client and its secret, shown this once, alone and as an API key."""

    secret: str
    api_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """A token, and when it expires (unix seconds)."""

    token: str
    expires_at: float


def values(form: Any, *leave_out: str) -> dict[str, Any]:
    """The fields of a form or an entity by name, as they are."""
    return {each.name: getattr(form, each.name) for each in fields(form) if each.name not in leave_out}


def shown(entity: Any, view: type) -> dict[str, Any]:
    """The part of an entity that a view has."""
    return {each.name: getattr(entity, each.name) for each in fields(view)}
