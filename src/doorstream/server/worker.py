"""A worker: one process that serves everything. The parent starts it with one end of a socket pair."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
import uvicorn
import uvloop

from doorstream.gateway import Gateway
from doorstream.gateway.proxies import TrustedProxies
from doorstream.gateway.serve import collect_rarely, raise_file_limit, spare_what_is_there, uvicorn_config
from doorstream.gateway.tls import Certificate, CertificateError
from doorstream.log import LogError, StartError
from doorstream.server import logs
from doorstream.server.app import Recovering, Serving
from doorstream.server.control import Control, Failed, LogStuck, Orders, RenewCertificate, Started

_logger = structlog.get_logger(__name__)

_PATIENCE = 5.0  # then it answers "recovering" instead of keeping clients waiting
_GRACE = 2.5  # for requests under way when the server stops; nothing of ours takes that long unless NATS is away
_LAST_GRACE = 5
_CERTIFICATE_EVERY = 30.0


class _Server(uvicorn.Server):
    """uvicorn, which tells when it answers and when it begins to stop."""

    def __init__(
        self, config: uvicorn.Config, on_listening: Callable[[], None], on_stopping: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._on_listening = on_listening
        self._on_stopping = on_stopping

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_listening()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._on_stopping()
        timer = asyncio.get_running_loop().call_later(_GRACE, self._abort_the_rest)
        try:
            await super().shutdown(sockets)
        finally:
            timer.cancel()

    def _abort_the_rest(self) -> None:
        """Whoever never stops sending, or no longer reads, must not keep all others from the next start."""
        for connection in tuple(self.server_state.connections):
            transport = getattr(connection, "transport", None)
            if transport is not None:
                transport.abort()


class Worker:
    """Opens the services and serves them until it is told to stop or its parent is gone."""

    def __init__(self, control: Control, orders: Orders) -> None:
        self._control = control
        self._orders = orders
        settings = orders.settings
        proxies = TrustedProxies(settings.trusted_proxies)
        self._gateway = Gateway(handshake_timeout=settings.handshake_timeout, proxies=proxies)
        self._certificate: Certificate | None = None
        if settings.tls_cert is not None and settings.tls_key is not None:
            self._certificate = Certificate(settings.tls_cert, settings.tls_key)
        self._gateway.ready = False
        self._recovering = Recovering()
        self._opened: asyncio.Task[Serving] | None = None
        self._listening = asyncio.Event()
        self._ending = asyncio.Event()
        self._exits = contextlib.AsyncExitStack()

    async def run(self) -> None:
        """Serve."""
        listener = socket.socket(fileno=self._orders.listener)
        config = uvicorn_config(
            self._app,
            certificate=self._certificate,
            timeout_graceful_shutdown=_LAST_GRACE,
            interface="asgi3",
        )
        server = _Server(config, self._listening.set, self._end_streams)
        work = (self._hold_lifeline(), self._announce(), self._watch_certificate(), self._end_when_told(server))
        tasks = [asyncio.create_task(each) for each in work]
        try:
            await server.serve([listener])
        finally:
            for task in tasks:
                task.cancel()

    async def _end_when_told(self, server: _Server) -> None:
        await self._ending.wait()
        server.should_exit = True

    def _end_streams(self) -> None:
        if self._opened is not None and self._opened.done() and self._opened.exception() is None:
            self._opened.result().end_streams()

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
        else:
            await self._recovering(scope, receive, send)

    async def _lifespan(self, scope: Any, receive: Callable[[], Awaitable[Any]], send: Any) -> None:
        """Wait for the services a little, so that clients who dial again wait too instead of being refused."""
        await receive()
        self._opened = asyncio.create_task(self._open())
        ending = asyncio.create_task(self._ending.wait())
        await asyncio.wait([self._opened, ending], timeout=_PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        ending.cancel()
        scope["state"]["gateway"] = self._gateway
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self._opened.cancel()
        await asyncio.gather(self._opened, return_exceptions=True)
        await self._exits.aclose()
        await send({"type": "lifespan.shutdown.complete"})

    async def _open(self) -> Serving:
        serving = await self._exits.enter_async_context(
            Serving.open(
                self._orders,
                self._gateway,
                on_log_stuck=lambda: self._control.say(LogStuck()),
                on_log_replaced=self._ending.set,  # whoever takes our place begins with what is there now
            )
        )
        self._recovering.app = serving.app
        self._gateway.ready = True
        spare_what_is_there()
        return serving

    async def _announce(self) -> None:
        """Tell the parent when everything answers, or why it never will."""
        await self._listening.wait()
        assert self._opened is not None  # noqa: S101 - the lifespan comes before listening
        try:
            serving = await self._opened
        except (StartError, LogError) as error:
            self._control.say(Failed(str(error)))
            self._ending.set()
        except Exception:
            _logger.exception("a worker cannot start")
            self._control.say(Failed("the server cannot start; its log says why"))
            self._ending.set()
        else:
            self._control.say(Started(serving.admin_key))

    async def _hold_lifeline(self) -> None:
        while (word := await self._control.hear()) is not None:
            if isinstance(word, RenewCertificate):
                self._renew_certificate(is_told=True)
        self._ending.set()

    async def _watch_certificate(self) -> None:
        """Whoever renews certificates need not know of us."""
        while self._certificate is not None:
            await asyncio.sleep(_CERTIFICATE_EVERY)
            self._renew_certificate(is_told=False)

    def _renew_certificate(self, *, is_told: bool) -> None:
        if self._certificate is None:
            return
        try:
            if is_told:
                self._certificate.renew()
            elif not self._certificate.renew_if_changed():
                return
        except CertificateError as error:
            _logger.error("the new certificate cannot be used; the old one stays", reason=str(error))  # noqa: TRY400 - it is for operators
        else:
            _logger.info("the certificate was read again")


async def _main(end: socket.socket) -> None:
    control = await Control.open(end)
    orders = await control.hear()
    if not isinstance(orders, Orders):
        return
    logs.configure(json=orders.settings.log_json)
    try:
        worker = Worker(control, orders)
    except CertificateError as error:  # it was good when the parent looked
        control.say(Failed(f"TLS: {error}"))
        await control.finish()
    else:
        await worker.run()


def main() -> None:
    """Run as ``python -m doorstream.server.worker <descriptor>``."""
    raise_file_limit()
    collect_rarely()
    end = socket.socket(fileno=int(sys.argv[1]))
    os.set_inheritable(end.fileno(), False)
    uvloop.run(_main(end))


if __name__ == "__main__":
    main()
