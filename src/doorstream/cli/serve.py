"""``doorstream serve`` and ``doorstream demo``."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from doorstream.auth import ExternalIssuer, SignInCode
from doorstream.cli.errors import CommandError
from doorstream.events import Retention
from doorstream.gateway.proxies import TrustedProxies
from doorstream.log import StartError
from doorstream.server import logs
from doorstream.server.control import Started
from doorstream.server.demo import Credentials, client_id
from doorstream.server.settings import DAY, DemoSettings, Settings, SignInLink
from doorstream.server.supervisor import OnStarted, Supervisor

CLIENT_FILE = "client.json"
DEMO_DIRECTORY = Path(".doorstream-demo")
SERVE_DIRECTORY = Path("doorstream-data")

_NotNegative = Annotated[float, Parameter(validator=Number(gte=0))]


@dataclass(frozen=True, kw_only=True)
class Listen:
    """Where the server listens and what it stands on."""

    host: str = "127.0.0.1"
    "The address to listen on."
    port: Annotated[int, Parameter(validator=Number(gte=0, lte=65535))] = 8080
    "The port to listen on; 0 for a free one."
    data_dir: Path | None = None
    "Where the log and the index are kept."
    nats_url: Annotated[str | None, Parameter(env_var="DOORSTREAM_NATS_URL")] = None
    "Use this NATS server or cluster instead of the embedded one; several addresses with commas between them."
    nats_replicas: Annotated[int | None, Parameter(validator=Number(gte=1, lte=5))] = None
    "On how many servers of a NATS cluster everything is kept; by default what is new goes to three of a cluster."
    public_url: str | None = None
    "The address that clients use, if it is not host and port."
    tls_cert: Path | None = None
    "The server's certificate and its chain, as a PEM file: speak TLS only."
    tls_key: Path | None = None
    "The certificate's key, as a PEM file."
    trusted_proxies: Annotated[tuple[str, ...], Parameter(negative="")] = ()
    "Addresses or networks of proxies, as in 10.0.0.0/8, whose X-Forwarded headers count."
    allowed_origins: Annotated[tuple[str, ...], Parameter(negative="")] = ()
    "Origins, as in https://doors.example.com, whose pages may use a person's session beside the server's own."
    system_token_ttl: Annotated[float, Parameter(validator=Number(gt=0))] = 300.0
    "Seconds for which a PDK system token is valid."
    workers: Annotated[int, Parameter(validator=Number(gte=1, lte=64))] = 1
    "Worker processes. With more than one, Socket.IO clients have to use WebSocket only."
    background: bool = True
    "Deliver webhooks and run driver modules here. Of several nodes on one NATS exactly one may."
    pdk_rate_limits: bool = True
    "Limit PDK's REST and token routes as the vendor does."
    salto_token_ttl: Annotated[float, Parameter(validator=Number(gt=0))] = 3600.0
    "Seconds for which a Salto KS access token is valid."
    salto_close_at_expiry: bool = False
    "Close Salto KS hubs when their tokens expire, so that clients come back with new ones."
    max_message: Annotated[int, Parameter(validator=Number(gte=1000))] = 100_000
    "Bytes of the largest message that a streaming client may send."
    max_unsent: Annotated[int, Parameter(validator=Number(gte=100_000))] = 1_000_000
    "Bytes that a client may leave unread before it is cut off."
    messages_per_second: Annotated[float, Parameter(validator=Number(gt=0))] = 200.0
    "How fast one client is read, with ten seconds' worth at once; what comes faster waits."
    ping_interval: Annotated[float, Parameter(validator=Number(gt=0))] = 25.0
    "Seconds between Engine.IO's pings."
    ping_timeout: Annotated[float, Parameter(validator=Number(gt=0))] = 20.0
    "Seconds for which their answer is waited for."
    webhook_allow: tuple[str, ...] = ()
    "Networks that webhooks may reach although they are not public, as in 192.168.10.0/24."
    webhook_require_https: bool = True
    "Let webhooks go to https addresses only."
    webhook_ledger_days: Annotated[float, Parameter(validator=Number(gte=7))] = 30.0
    "Days for which attempts to deliver are kept."
    webhook_proxy: str | None = None
    "A forward proxy for webhooks, as http://host:port."
    drivers_dir: Path | None = None
    "A folder with drivers of your own; a file that changes is loaded anew."
    log_json: bool = False
    "Log as JSON lines."
    otel_endpoint: str | None = None
    "Send traces to this collector (OTLP over HTTP), as in http://127.0.0.1:4318; needs doorstream[otel]."


_DEFAULTS = Listen()
_ORIGIN = re.compile(r"https?://[\w.-]+(:\d+)?|https?://\[[0-9a-fA-F:.]+\](:\d+)?")


async def serve(  # noqa: PLR0913 - one parameter for each option
    listen: Annotated[Listen, Parameter(name="*")] = _DEFAULTS,
    *,
    import_file: Annotated[Path | None, Parameter(name="--import")] = None,
    retention_days: Annotated[float, Parameter(validator=Number(gt=0))] = 90.0,
    retain: dict[str, float] | None = None,
    log_max_bytes: int = -1,
    min_free: int | None = None,
    salto_issuer: str | None = None,
    salto_audience: str = "user_api",
    salto_jwks_url: str | None = None,
) -> None:
    """Run a server until it is interrupted.

    The first start prints one administrator's API key, once.

    Parameters
    ----------
    import_file:
        A TOML file of sites, devices, holders, users and clients that are to exist.
    retention_days:
        Days for which events are kept.
    retain:
        Days for a class of topics that is kept shorter or longer, as in ``--retain.alarm 365``. The classes are
        access, alarm, door, own and system. With one of these options the whole table of a file does not count.
    log_max_bytes:
        The size of the whole log, of which the oldest events leave first; -1 for no limit.
    min_free:
        Refuse events while fewer bytes are free on the disk; by default 5 % of it, at least 16 MB, at most 256 MB.
    salto_issuer:
        Take Salto KS access tokens of this identity server instead of our own.
    salto_audience:
        The audience of its tokens.
    salto_jwks_url:
        Where its public keys are.
    """
    settings = _settings(
        listen,
        SERVE_DIRECTORY,
        import_file=import_file,
        retention=_retention(retention_days, retain or {}),
        log_max_bytes=log_max_bytes,
        min_free=min_free,
        salto_identity=_external_identity(salto_issuer, salto_audience, salto_jwks_url),
    )

    def started(url: str, word: Started) -> None:
        print(f"doorstream listens on {url}", flush=True)
        if word.admin_key is not None:
            print(f"administrator's API key, shown only now: {word.admin_key}", flush=True)

    await _supervise(settings, started)


async def demo(  # noqa: PLR0913 - one parameter for each option
    listen: Annotated[Listen, Parameter(name="*")] = _DEFAULTS,
    *,
    seed: str = "doorstream",
    rate: _NotNegative = 2.0,
    drop_connections_every: Annotated[float | None, Parameter(validator=Number(gt=0))] = None,
    duplicate_rate: Annotated[float, Parameter(validator=Number(gte=0, lte=1))] = 0.0,
    delay: _NotNegative = 0.0,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> None:
    """Run a server with a simulated building, to try and to develop against.

    Parameters
    ----------
    seed:
        The same seed gives the same building, the same story and the same credentials.
    rate:
        The mean number of simulated events per second; 0 for none.
    drop_connections_every:
        A fault to test against: cut every streaming connection after so many seconds.
    duplicate_rate:
        A fault to test against: the share of events that are delivered twice, 0 to 1.
    delay:
        A fault to test against: deliver every event so many seconds later.
    as_json:
        Print addresses and credentials as one JSON object, as the first line.
    """
    code = SignInCode.make(client_id("admin"), time.time())
    settings = _settings(
        listen,
        DEMO_DIRECTORY,
        demo=DemoSettings(
            seed=seed,
            rate=rate,
            drop_connections_every=drop_connections_every,
            duplicate_rate=duplicate_rate,
            delay=delay,
            sign_in=SignInLink(hash=code.hash, expires_at=code.expires_at),
        ),
    )

    def started(url: str, _word: Started) -> None:
        credentials = Credentials.derive(seed, url)
        link = f"{url}/#/sign-in/{code.text}"
        _write_client_file(settings.data_dir, {"url": url, "api_key": credentials.admin_key, "sign_in": link})
        text = json.dumps(credentials.as_json()) if as_json else credentials.as_text(link)
        print(text, flush=True)

    await _supervise(settings, started)


def _settings(listen: Listen, data_dir: Path, **more: object) -> Settings:
    _check_address(listen)
    return Settings(
        host=listen.host,
        port=listen.port,
        data_dir=(listen.data_dir or data_dir).absolute(),
        nats_url=listen.nats_url,
        nats_replicas=listen.nats_replicas,
        public_url=listen.public_url,
        tls_cert=listen.tls_cert.absolute() if listen.tls_cert is not None else None,
        tls_key=listen.tls_key.absolute() if listen.tls_key is not None else None,
        trusted_proxies=networks(listen.trusted_proxies),
        allowed_origins=origins(listen.allowed_origins),
        system_token_ttl=listen.system_token_ttl,
        workers=listen.workers,
        background=listen.background,
        pdk_rate_limits=listen.pdk_rate_limits,
        drivers_dir=listen.drivers_dir.absolute() if listen.drivers_dir is not None else None,
        salto_token_ttl=listen.salto_token_ttl,
        max_message=listen.max_message,
        max_unsent=listen.max_unsent,
        messages_per_second=listen.messages_per_second,
        ping_interval=listen.ping_interval,
        ping_timeout=listen.ping_timeout,
        salto_close_at_expiry=listen.salto_close_at_expiry,
        webhook_allow=listen.webhook_allow,
        webhook_require_https=listen.webhook_require_https,
        webhook_ledger_age=listen.webhook_ledger_days * DAY,
        webhook_proxy=listen.webhook_proxy,
        log_json=listen.log_json,
        otel_endpoint=listen.otel_endpoint,
        **more,  # type: ignore[arg-type]
    )


def _retention(days: float, by_class: dict[str, float]) -> Retention:
    try:
        return Retention(days * DAY, {name: each * DAY for name, each in by_class.items()})
    except ValueError as error:
        raise CommandError(f"--retain: {error}", status=2) from None


def _external_identity(issuer: str | None, audience: str, jwks_url: str | None) -> ExternalIssuer | None:
    if issuer is None and jwks_url is None:
        return None
    if issuer is None or jwks_url is None:
        raise CommandError("--salto-issuer and --salto-jwks-url belong together", status=2)
    try:
        return ExternalIssuer(issuer, audience, jwks_url)
    except ValueError as error:
        raise CommandError(f"--salto-jwks-url: {error}", status=2) from None


def _check_address(listen: Listen) -> None:
    """Tokens and discovery name the address that clients use; nobody can use a wildcard. Raises CommandError."""
    if (listen.tls_cert is None) != (listen.tls_key is None):
        raise CommandError("--tls-cert and --tls-key belong together", status=2)
    if listen.trusted_proxies and listen.public_url is None:
        raise CommandError("--trusted-proxies needs --public-url: clients use the proxy's address", status=2)
    if listen.host in ("0.0.0.0", "::") and listen.public_url is None:  # noqa: S104 - compared, not bound
        print(
            "doorstream: give --public-url: clients on other machines cannot use the address made from --host",
            file=sys.stderr,
        )


def origins(texts: tuple[str, ...]) -> tuple[str, ...]:
    """Origins as they were given, in any mixture of repeated options and commas; raises CommandError."""
    found = tuple(part for text in texts for part in text.replace(",", " ").split())
    for origin in found:
        if _ORIGIN.fullmatch(origin) is None:
            raise CommandError(f"--allowed-origins: {origin} is no origin as in https://doors.example.com", status=2)
    return found


def networks(texts: tuple[str, ...]) -> tuple[str, ...]:
    """Proxies as they were given, in any mixture of repeated options and commas; raises CommandError."""
    found = tuple(part for text in texts for part in text.replace(",", " ").split())
    try:
        TrustedProxies(found)
    except ValueError as error:
        raise CommandError(f"--trusted-proxies: {error}", status=2) from None
    return found


async def _supervise(settings: Settings, started: OnStarted) -> None:
    logs.configure(json=settings.log_json)
    try:
        await Supervisor(settings, started).run()
    except StartError as error:
        raise CommandError(str(error), status=2) from None


def _write_client_file(directory: Path, content: dict[str, str]) -> None:
    """So that ``doorstream tail`` and the like find the demo by themselves."""
    path = directory / CLIENT_FILE
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(content, file)
        print(file=file)


if sys.platform == "win32":
    raise CommandError("doorstream runs on Linux and macOS", status=2)
