"""Cross-origin access (design.md D11)."""

from typing import Any

import pytest

from doorstream.gateway.cors import CORS


async def call(app: Any, method: str = "GET", **headers: str) -> tuple[int, dict[str, str]]:
    """Send a request through the middleware."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
    }
    await app(scope, None, send)
    return sent[0]["status"], {name.decode(): value.decode() for name, value in sent[0]["headers"]}


def application(*headers: tuple[bytes, bytes]) -> Any:
    """An application that answers 200 with headers."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        del scope, receive
        await send({"type": "http.response.start", "status": 200, "headers": list(headers)})
        await send({"type": "http.response.body", "body": b"x"})

    return app


async def test_an_origin_is_echoed_and_credentials_are_allowed() -> None:
    status, headers = await call(CORS(application((b"etag", b"1"))), origin="https://o.example")
    assert status == 200
    assert headers["access-control-allow-origin"] == "https://o.example"
    assert headers["access-control-allow-credentials"] == "true"
    assert headers["vary"] == "Origin"
    assert headers["etag"] == "1"
    for name in ("ETag", "Link", "X-Total-Count"):
        assert name in headers["access-control-expose-headers"]


async def test_without_an_origin_only_vary_is_added() -> None:
    """A cache must know that the answer depends on it."""
    _, headers = await call(CORS(application()))
    assert headers == {"vary": "Origin"}


async def test_a_preflight_is_answered_without_asking_the_application() -> None:
    """SignalR's browser client sends these (`spikes.md` section 7)."""
    status, headers = await call(
        CORS(application()),
        "OPTIONS",
        origin="https://o.example",
        access_control_request_method="POST",
        access_control_request_headers="authorization, x-requested-with, x-signalr-user-agent",
    )
    assert status == 204
    assert headers["access-control-allow-origin"] == "https://o.example"
    allowed = headers["access-control-allow-headers"].lower().split(", ")
    assert {"authorization", "x-requested-with", "x-signalr-user-agent", "x-api-key", "access-token"} <= set(allowed)
    assert "POST" in headers["access-control-allow-methods"]


@pytest.mark.parametrize("headers", [{}, {"origin": "https://o.example"}])
async def test_other_options_requests_reach_the_application(headers: dict[str, str]) -> None:
    status, _ = await call(CORS(application()), "OPTIONS", **headers)
    assert status == 200


async def test_headers_the_application_set_itself_are_left_alone() -> None:
    _, headers = await call(CORS(application((b"Access-Control-Allow-Origin", b"*"))), origin="https://o.example")
    assert headers == {"Access-Control-Allow-Origin": "*"}


async def test_what_is_allowed_and_exposed_can_be_chosen() -> None:
    app = CORS(application(), allowed_headers=["X-A"], exposed_headers=["X-B"], credentials=False)
    _, headers = await call(app, origin="o")
    assert headers["access-control-expose-headers"] == "X-B"
    assert "access-control-allow-credentials" not in headers
    _, headers = await call(app, "OPTIONS", origin="o", access_control_request_method="GET")
    assert headers["access-control-allow-headers"] == "X-A"


async def test_other_scopes_pass() -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        del receive, send
        seen.append(scope["type"])

    await CORS(app)({"type": "lifespan"}, None, None)
    assert seen == ["lifespan"]
