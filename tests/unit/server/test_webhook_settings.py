"""What the settings and options of webhooks, and of Salto KS's identity server, make of a worker."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_support import check_refused, run

from doorstream.auth import ExternalIssuer
from doorstream.cli import serve as module
from doorstream.cli.main import app
from doorstream.directory import SYSTEM
from doorstream.events.entities import Site, Webhook
from doorstream.gateway import Gateway
from doorstream.log import Connection, StartError
from doorstream.server.services import Services
from doorstream.server.settings import DAY, Settings
from doorstream.server.webhooks import policy
from doorstream.testing.receiver import Receiver
from doorstream.webhooks.guard import BadUrl, BlockedAddress, check_url
from world import SITE


async def settings_of(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Settings:
    """What ``doorstream serve`` would start with."""
    found: list[Settings] = []

    async def take(settings: Settings, _: object) -> None:
        found.append(settings)

    monkeypatch.setattr(module, "_supervise", take)
    command, bound, _ = app.parse_args(["serve", *arguments])
    await command(*bound.args, **bound.kwargs)
    return found[0]


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "10.0.0.1", "169.254.169.254"])
def test_the_guard_is_on_by_default(host: str) -> None:
    """Only https, and nothing that is inside, unless the operator allowed it."""
    settings = Settings(data_dir=Path("x"))
    strict = policy(settings.webhook_allow, require_https=settings.webhook_require_https, is_demo=False)
    assert strict == policy((), require_https=True, is_demo=False)
    assert check_url("https://8.8.8.8/", strict)
    with pytest.raises(BadUrl, match="https"):
        check_url("http://8.8.8.8/", strict)
    with pytest.raises(BlockedAddress):
        check_url(f"https://{host}/", strict)


def test_the_demo_reaches_this_machine_only() -> None:
    demo = policy((), require_https=True, is_demo=True)
    assert check_url("http://127.0.0.1:9000/", demo)
    with pytest.raises(BlockedAddress):
        check_url("http://10.0.0.1/", demo)
    with pytest.raises(StartError, match="webhook_allow"):
        policy(("nowhere",), require_https=True, is_demo=False)


async def test_the_options_reach_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = await settings_of(monkeypatch)
    assert (plain.webhook_allow, plain.webhook_require_https, plain.webhook_proxy) == ((), True, None)
    proxy = "http://proxy.example:3128"
    found = await settings_of(monkeypatch, "--webhook-proxy", proxy, "--webhook-ledger-days", "12")
    assert (found.webhook_proxy, found.webhook_ledger_age) == (proxy, 12 * DAY)


@pytest.mark.parametrize("days", [10, 45])
async def test_the_settings_reach_the_sender_and_the_ledger(
    nats_url: str, connection: Connection, tmp_path: Path, days: int
) -> None:
    """A delivery goes to the proxy, and the stream keeps attempts for as long as was asked."""
    async with Receiver() as proxy:
        settings = Settings(
            data_dir=tmp_path,
            webhook_allow=("127.0.0.0/8",),
            webhook_require_https=False,
            webhook_proxy=proxy.origin,
            webhook_ledger_age=days * DAY,
        )
        async with Services.open(settings, nats_url, Gateway()) as services:
            created = services.directory.now()
            await services.directory.create(Site(id=SITE, name="House", created=created), SYSTEM)
            webhook = Webhook(
                id="hook", site_id=SITE, name="hook", url="http://127.0.0.1:9999/hook", created=created, start="0"
            )
            tested = await services.webhooks.test(webhook)
            stream = await connection.api("STREAM.INFO.WEBHOOKS")
    assert tested.outcome.delivered
    assert [request.target for request in proxy.requests] == ["http://127.0.0.1:9999/hook"]
    assert stream["config"]["max_age"] == days * DAY * 10**9


@pytest.mark.parametrize(
    "arguments",
    [("--salto-issuer", "https://id.example"), ("--salto-jwks-url", "https://id.example/keys")],
)
async def test_an_identity_server_needs_both_of_its_addresses(arguments: tuple[str, str], tmp_path: Path) -> None:
    ended = await run("serve", "--data-dir", str(tmp_path / "data"), *arguments)
    check_refused(ended, 2, "--salto-issuer and --salto-jwks-url belong together")
    assert not (tmp_path / "data").exists()


async def test_an_identity_server_reaches_the_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert (await settings_of(monkeypatch)).salto_identity is None
    issuer, keys = "https://id.example", "https://id.example/keys"
    both = ("--salto-issuer", issuer, "--salto-jwks-url", keys)
    assert (await settings_of(monkeypatch, *both)).salto_identity == ExternalIssuer(issuer, "user_api", keys)
    found = await settings_of(monkeypatch, *both, "--salto-audience", "doors")
    assert found.salto_identity == ExternalIssuer(issuer, "doors", keys)
    plain = ("--salto-issuer", issuer, "--salto-jwks-url", "http://id.example/keys")
    check_refused(await run("serve", "--data-dir", str(tmp_path / "data"), *plain), 2, "--salto-jwks-url: ", "https://")
