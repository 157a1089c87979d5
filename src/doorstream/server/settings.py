"""Every setting of a server, with its default."""

from __future__ import annotations

from pathlib import Path

import msgspec

from doorstream.auth import ACCESS_TTL, ExternalIssuer
from doorstream.events import Retention

DAY = 86_400.0


class SignInLink(msgspec.Struct, frozen=True, kw_only=True):
    """The one-time link that the demo prints, as it is kept: the hash of its code, and its end in unix seconds."""

    hash: str
    expires_at: float


class DemoSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The simulated building, and faults for people who test their own programs. Durations in seconds."""

    seed: str = "doorstream"
    """The same seed gives the same building, the same story and the same credentials."""
    rate: float = 2.0
    """The mean number of simulated events stored per second; 0 for none."""
    drop_connections_every: float | None = None
    """Cut every streaming connection that often."""
    duplicate_rate: float = 0.0
    """The share of events that are delivered twice, 0 to 1."""
    delay: float = 0.0
    """Deliver every event that much later."""
    sign_in: SignInLink | None = None
    """Lets whoever has its code into the dashboard, once."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How a server runs. Durations in seconds, sizes in bytes."""

    host: str = "127.0.0.1"
    port: int = 8080
    data_dir: Path = Path("doorstream-data")
    nats_url: str | None = None
    """An existing NATS server or cluster; None: an embedded one with its store in the data directory."""
    public_url: str | None = None
    """The address that clients use, as in token issuers; None: made from host and port."""
    tls_cert: Path | None = None
    """A certificate chain in PEM form; with it and its key only TLS is spoken."""
    tls_key: Path | None = None
    trusted_proxies: tuple[str, ...] = ()
    """Networks of proxies whose word about who a client is counts."""
    nats_replicas: int | None = None
    """On how many servers of a NATS cluster everything is kept; None: three on a cluster, for what is made anew."""
    workers: int = 1
    background: bool = True
    """Deliver webhooks and run driver modules here: of several nodes on one NATS exactly one does."""
    import_file: Path | None = None
    """A TOML file of sites, devices, holders, users and clients that are to exist."""
    system_token_ttl: float = 300.0
    retention: Retention = Retention(90 * DAY)
    """How long events are kept, by class of topic (D10)."""
    log_max_bytes: int = -1
    """The size of the whole log; the oldest events leave first. -1: no limit of its own."""
    min_free: int | None = None
    """Events are refused while less is free on the disk; None: 5 % of it, at least 16 MB, at most 256 MB."""
    max_message: int = 100_000
    """The largest message that a streaming client may send; Engine.IO tells clients (D12)."""
    max_unsent: int = 1_000_000
    """What one connection may leave unread before it is cut off as a slow consumer (D12)."""
    messages_per_second: float = 200.0
    """How fast one connection is read, ten seconds' worth at once; what comes faster waits (D12)."""
    handshake_timeout: float = 10.0
    ping_interval: float = 25.0
    ping_timeout: float = 20.0
    connect_timeout: float = 45.0
    pdk_rate_limits: bool = True
    salto_token_ttl: float = ACCESS_TTL
    salto_close_at_expiry: bool = False
    """Close a Salto KS hub when its token expires, so that clients come back with another (D8)."""
    salto_identity: ExternalIssuer | None = None
    """The identity server whose tokens the Salto KS dialect takes; None: doorstream's own."""
    allowed_origins: tuple[str, ...] = ()
    """Origins whose pages may use a cookie; credentials in headers and queries work from any origin (D11)."""
    drivers_dir: Path | None = None
    """A folder with the operator's own drivers; a file that changes is loaded anew."""
    log_json: bool = False
    otel_endpoint: str | None = None
    """Where traces are sent: a collector that takes OTLP over HTTP. None: nowhere."""
    webhook_allow: tuple[str, ...] = ()
    """Networks that webhooks may reach although they are not public: receivers in the building."""
    webhook_require_https: bool = True
    webhook_ledger_age: float = 30 * DAY
    """How long attempts to deliver are kept; at least 7 days."""
    webhook_proxy: str | None = None
    """A forward proxy for webhooks, as http://host:port."""
    demo: DemoSettings | None = None
