"""The entities of a building: what events speak of, and who may ask about them.

Plain frozen values, the same in storage, in our own API and in import files. A ``…Fields`` class holds what a caller
may set; the entity adds what the server keeps: id, owner, times, secrets. ``created`` is an RFC 3339 time in UTC.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

ALL_SITES: Literal["all"] = "all"
"""The value of ``Client.sites`` that stands for every site, future ones included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteFields:
    """What a caller may set of a site. ``timezone`` is an IANA name, ``locale`` a language tag.

    The doors of a ``simulated`` site are played by doorstream: its commands make them do what real ones would.
    """

    name: str
    description: str | None = None
    timezone: str = "UTC"
    locale: str = "en"
    simulated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Site(SiteFields):
    """A building. Its id is a UUID and the same in every dialect (design D16)."""

    id: str
    created: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CardFormat:
    """How a card's bits are read; the counts are bits (vendor-apis.md 1.4, system)."""

    id: str
    description: str | None = None
    min_input_bits: int | None = None
    max_input_bits: int | None = None
    facility_code: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudNodeFields:
    """What a caller may set of a cloud node.

    ``kill_timer`` is in seconds. ``offline_policy`` is PDK's 0, 1 or 2. Without ``timezone`` or ``locale`` the site's
    apply.
    """

    name: str
    description: str | None = None
    serial_number: str | None = None
    timezone: str | None = None
    locale: str | None = None
    offline_policy: int = 2
    kill_timer: int = 300
    card_format: tuple[CardFormat, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudNode(CloudNodeFields):
    """The computer on site that speaks for its controllers. ``registered``: a panel is associated with it."""

    id: str
    site_id: str
    created: str
    registered: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionFields:
    """What a caller may set of a connection."""

    name: str
    cloud_node_id: str
    type: str = "ethernet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection(ConnectionFields):
    """A controller: one cloud node reaches its doors through several of them."""

    id: str
    site_id: str
    created: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFields:
    """What a caller may set of a device.

    ``dwell``, ``delay`` and ``prop_delay`` are tenths of a second, as in PDK. With a connection the cloud node may be
    left out: it is the connection's.
    """

    name: str
    cloud_node_id: str | None = None
    connection_id: str | None = None
    port: int | None = None
    type: str = "primaryReader"
    reader_type: str | None = None
    serial_number: str | None = None
    firmware_version: str | None = None
    hardware_version: str | None = None
    dwell: int = 50
    delay: int = 0
    dps: bool = True
    rex: bool = True
    forced_alarm: bool = True
    prop_alarm: bool = True
    prop_delay: int = 300
    auto_open_after_first_allow: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Device(DeviceFields):
    """A door, or another thing with a reader, a lock or a contact."""

    id: str
    site_id: str
    created: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A group that a holder is in."""

    id: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """A card, telephone or the like of a holder. Numbers are integers here and texts in events."""

    id: str
    credential_number: int | None = None
    facility_code: int | None = None
    description: str | None = None
    types: tuple[str, ...] = ("card",)


@dataclass(frozen=True, slots=True, kw_only=True)
class HolderFields:
    """What a caller may set of a holder and see again. Dates are ``YYYY-MM-DDTHH:MM:SS`` without zone."""

    first_name: str
    last_name: str = ""
    email: str | None = None
    enabled: bool = True
    active_date: str | None = None
    expire_date: str | None = None
    groups: tuple[Group, ...] = ()
    credentials: tuple[Credential, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder(HolderFields):
    """A person who passes doors. ``pin`` can be set and never read."""

    id: str
    site_id: str
    created: str
    pin: str | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """The name as events show it."""
        return f"{self.first_name} {self.last_name}".strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleFields:
    """What a caller may set of a module.

    ``name`` is what clients address it by, ``driver`` the registered name of its driver; ``settings`` are the driver's.
    With a ``device_id`` it stands for that door. ``running``: it is meant to run.
    """

    name: str
    driver: str
    settings: dict[str, Any] = field(default_factory=dict)
    device_id: str | None = None
    running: bool = True
    notes: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Module(ModuleFields):
    """A driver at work for a site. ``updated`` is the time of the last change, as ``created``."""

    id: str
    site_id: str
    created: str
    updated: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneFields:
    """What a caller may set of a PlaceOS zone (vendor-apis.md 2.4, object shapes)."""

    name: str
    display_name: str | None = None
    description: str = ""
    location: str | None = None
    code: str | None = None
    type: str | None = None
    count: int = 0
    capacity: int = 0
    map_id: str | None = None
    timezone: str | None = None
    tags: tuple[str, ...] = ()
    triggers: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    parent_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Zone(ZoneFields):
    """A part of a building, or the building itself. ``version`` grows with each change."""

    id: str
    site_id: str
    version: int
    created: str
    updated: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemFields:
    """What a caller may set of a PlaceOS system (vendor-apis.md 2.4, object shapes).

    ``modules`` are ids in the order that gives modules of one name their index; ``zones`` are ids.
    """

    name: str
    display_name: str | None = None
    description: str = ""
    email: str | None = None
    code: str | None = None
    type: str | None = None
    capacity: int = 0
    map_id: str | None = None
    timezone: str | None = None
    support_url: str = ""
    timetable_url: str | None = None
    orientation: str = "unspecified"
    bookable: bool = False
    public: bool = False
    approval: bool = False
    signage: bool = False
    features: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    zones: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class System(SystemFields):
    """Modules that belong together, such as those of a room. ``version`` grows with each change."""

    id: str
    site_id: str
    version: int
    created: str
    updated: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningSecret:
    """What a webhook's deliveries are signed with, until ``expires`` (unix seconds; None: until it is replaced).

    ``version`` is ``v1`` (HMAC-SHA256), ``v1a`` (Ed25519) or ``pdk`` (hexadecimal HMAC-SHA1). ``public_key`` is what
    receivers check ``v1a`` with.
    """

    version: str
    created: str
    expires: float | None = None
    public_key: str | None = None
    value: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookFields:
    """What a caller may set of a webhook and see again; durations are in seconds.

    ``topics`` are names or end in ``.*``, ``*`` is all. ``sites`` are further sites beside its own; ``devices`` and
    ``cloud_nodes`` are ids, empty for all. Events that were recorded more than ``ignore_older_than`` after they
    occurred are left out. ``retry`` are the waits between attempts (None: those of the form); ``rate`` is in deliveries
    per second. With ``ordered`` an event of a door waits until those before it are delivered or given up.
    ``secrecy_level`` is PDK's (vendor-apis.md 1.3). ``expires`` is an RFC 3339 time. With ``handshake`` the receiver is
    asked for its agreement before a new address, or a higher rate, is kept (CloudEvents' HTTP Web Hooks, section 4).
    """

    name: str
    url: str
    form: str = "native"
    topics: tuple[str, ...] = ("*",)
    sites: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    cloud_nodes: tuple[str, ...] = ()
    ignore_older_than: float | None = None
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    retry: tuple[float, ...] | None = None
    rate: float | None = None
    concurrency: int = 10
    ordered: bool = False
    verify_tls: bool = True
    secrecy_level: int = 0
    expires: str | None = None
    enabled: bool = True
    handshake: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook(WebhookFields):
    """Where events of a site are posted to.

    ``start`` is the position in the log after which its events begin. ``disabled_reason`` says why doorstream itself
    disabled it, ``disabled_at`` when; ``enabled_at`` (unix seconds) is when it was last enabled: failures before that
    do not count. ``request_digest`` tells a repeated creation from another one, ``dialect`` is what the dialect that
    made it shows again.
    """

    id: str
    site_id: str
    created: str
    start: str
    secrets: tuple[SigningSecret, ...] = field(default=(), repr=False)
    disabled_reason: str | None = None
    disabled_at: str | None = None
    enabled_at: float = 0.0
    request_digest: str | None = None
    dialect: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class UserFields:
    """What a caller may set of a user and see again.

    ``roles`` and ``holder_ids`` are by site id: the role there, and which of that site's holders the user is.
    """

    username: str
    name: str = ""
    roles: dict[str, str] = field(default_factory=dict)
    holder_ids: dict[str, str] = field(default_factory=dict)
    disabled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class User(UserFields):
    """A person who signs in. ``generation`` changes with whatever ends all of the user's tokens."""

    id: str
    created: str
    generation: str
    password_hash: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientFields:
    """What a caller may set of a client and see again. ``sites`` is ``all`` or the ids of the sites."""

    name: str
    scopes: tuple[str, ...]
    sites: Literal["all"] | tuple[str, ...]
    disabled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Client(ClientFields):
    """A program that calls us: its id and secret are an API key, and an OAuth client of every dialect.

    ``generation`` is part of every token given to it and changes with its secret and when it is disabled.
    """

    id: str
    created: str
    generation: str
    secret_hash: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """One key of the ring: a JSON Web Key, private while in use, public only from ``retired`` (unix seconds) on."""

    kid: str
    created: float
    retired: float | None = None
    jwk: dict[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRing:
    """All signing keys, the newest (the one that signs) first. One record, so that it changes as a whole."""

    id: str
    keys: tuple[SigningKey, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """A secret that this installation made for itself, as hexadecimal text."""

    id: str
    value: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """Holds a user name for one user: two users cannot have the same."""

    id: str
    user_id: str


Owned = CloudNode | Connection | Device | Holder | Module | Zone | System | Webhook
"""What belongs to one site."""

Entity = Site | Owned | User | Client | Reservation | KeyRing | Secret
"""Everything that the directory keeps."""
