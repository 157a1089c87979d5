"""No secret reaches a log line, whatever carries it (design promise 7)."""

import asyncio
import json
from pathlib import Path

import pytest
from http_support import websocket

from doorstream.server.logs import _redact, redacted
from doorstream.testing import until
from doorstream.testing.server import running_demo

TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJ4In0.c2lnbmF0dXJl"
KEY = "ds_demo-admin_5be7d4a97134d1c9deeef89b"


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f"GET /socket.io/?EIO=4&token={TOKEN}&transport=polling", TOKEN),
        (f"GET /v1/hub/entries?access_token={TOKEN}", TOKEN),
        ("POST /auth/oauth/token?grant_type=password&password=correct%20horse&x=1", "horse"),
        ('{"client_secret": "very secret", "name": "x"}', "very secret"),
        (f"Authorization: Bearer {TOKEN}", TOKEN),
        (f"X-API-Key: {KEY}", KEY),
        ("nats://user:pass@10.0.0.1:4222", "pass"),
        ("nats://s3cr3t-token@10.0.0.1:4222", "s3cr3t"),
        ("ticket=abc.def refused", "abc.def"),
    ],
)
def test_secrets_are_redacted(text, secret):
    assert secret in text
    assert secret not in redacted(text)
    assert "…" in redacted(text)


def test_what_is_no_secret_stays():
    text = "a client's position is gone first=3f9a1c07.12 site=0738b8df-329a-4d50-88e7-7a48928c4d6f"
    assert redacted(text) == text


def test_secrets_inside_of_values():
    """A list of topics once carried a token into the log."""
    event = _redact(None, "info", {"topics": [TOKEN, "x"], "more": {"deep": (KEY,)}, "count": 3})
    assert event == {"topics": ["…", "x"], "more": {"deep": ["…"]}, "count": 3}


async def test_lines_for_machines(tmp_path: Path) -> None:
    """With ``--log-json`` every line is an object, of the parent and of its worker; tokens in queries are in none."""
    (tmp_path / "lamp.py").write_text(
        f'raise RuntimeError("http://10.0.0.9/open?token={TOKEN}&door=1 does not answer")'
    )
    async with running_demo(log_json=True, drivers_dir=tmp_path) as demo:
        site = await demo.api.create_site(name="Elsewhere")
        key = (await demo.api.create_client(scopes=["placeos"], sites=[site]))["api_key"]
        system = f"sys-{demo.site_id}"
        async with websocket(demo, "/api/engine/v2/systems/control", **{"api-key": key}) as ws:
            await ws.send_json({"id": 1, "cmd": "bind", "sys": system, "mod": "Door", "index": 1, "name": "locked"})
            await until(lambda: "access to a system denied" in demo.errors, 30)
        demo.kill_worker()
        await until(lambda: "a worker ended and is replaced" in demo.errors, 30)
        await asyncio.to_thread(demo.stop)
        errors = demo.errors
    lines = [json.loads(line) for line in errors.splitlines()]
    by_event = {each["event"]: each for each in lines}
    denied, broken = by_event["access to a system denied"], by_event["a driver cannot be loaded"]
    assert (denied["level"], denied["system"]) == ("warning", system)
    assert broken["reason"].endswith("http://10.0.0.9/open?token=…&door=1 does not answer (line 1)")
    assert all(each["level"] and each["timestamp"].endswith("Z") for each in lines)
    assert not [each for each in (TOKEN, key) if each in errors]
