"""No secret reaches a log line, whatever carries it (design promise 7)."""

import pytest

from doorstream.server.logs import _redact, redacted

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
