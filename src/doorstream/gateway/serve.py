"""Running a gateway on uvicorn: the settings that belong to it, in one place."""

import contextlib
import gc
import resource
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, cast

import uvicorn

from doorstream.gateway.http import HttpProtocol
from doorstream.gateway.registry import Gateway
from doorstream.gateway.tls import Certificate
from doorstream.gateway.websocket import WebSocketConnection

ASGIApp = Callable[[Any, Any, Any], Awaitable[None]]

_SHUTDOWN_SECONDS = 10
_BACKLOG = 4096


def raise_file_limit() -> int:
    """Allow this process as many open files as the system lets it have, and say how many. A socket is a file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def collect_rarely() -> None:
    """Have Python look for garbage in cycles seldom: it pauses every client, and little of what is made has cycles."""
    gc.set_threshold(50_000, 20, 50)


def spare_what_is_there() -> None:
    """Collect once, and never look at again what is there now: code and services, which stay."""
    gc.collect()
    gc.freeze()


def uvicorn_config(app: ASGIApp, *, certificate: Certificate | None = None, **settings: Any) -> uvicorn.Config:
    """Give the uvicorn configuration of a server whose sockets the gateway owns.

    The application's lifespan must yield `{"gateway": gateway}`. With a certificate only TLS is spoken. `settings` are
    uvicorn's own (host, port, …) and win over what is set here.
    """
    ours: dict[str, Any] = {
        "ws": WebSocketConnection,
        "http": HttpProtocol,
        "loop": "uvloop",
        "lifespan": "on",
        "backlog": _BACKLOG,
        "access_log": False,  # it prints whole queries, and tokens travel in them
        "proxy_headers": False,  # HttpProtocol reads them, for WebSockets too
        "log_level": "warning",
        "timeout_graceful_shutdown": _SHUTDOWN_SECONDS,
    }
    if certificate is not None:
        context = certificate.context
        ours["ssl_context_factory"] = lambda *_: context
    return uvicorn.Config(cast("Any", app), **(ours | settings))


def gateway_app(gateway: Gateway) -> ASGIApp:
    """Give the smallest ASGI application for a gateway: its lifespan, and the endpoints that also speak HTTP."""

    @contextlib.asynccontextmanager
    async def lifespan() -> AsyncIterator[dict[str, Any]]:
        yield {"gateway": gateway}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await run_lifespan(lifespan, scope, receive, send)
            return
        endpoint: Any = gateway.find(scope["path"])
        if callable(endpoint):
            await endpoint(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})

    return app


async def run_lifespan(
    lifespan: Callable[[], contextlib.AbstractAsyncContextManager[dict[str, Any]]], scope: Any, receive: Any, send: Any
) -> None:
    """Speak the ASGI lifespan protocol around a context manager that yields the application's state."""
    await receive()
    async with lifespan() as state:
        scope["state"].update(state)
        await send({"type": "lifespan.startup.complete"})
        await receive()
    await send({"type": "lifespan.shutdown.complete"})


def serve(gateway: Gateway, *, host: str = "127.0.0.1", port: int = 8080, app: ASGIApp | None = None) -> None:
    """Serve until a signal ends it. Without an application only the gateway's own endpoints answer."""
    raise_file_limit()
    uvicorn.Server(uvicorn_config(app or gateway_app(gateway), host=host, port=port)).run()
