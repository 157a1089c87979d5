"""Puts the PDK dialect together: the stream, and the routes of the vendor's two hosts."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import FastAPI

from doorstream.dialects.parts import Parts
from doorstream.dialects.pdk.limits import Limits
from doorstream.dialects.pdk.recovery import Recovery
from doorstream.dialects.pdk.rest import Pdk, pdk_router
from doorstream.dialects.pdk.routes import PATH, Stream
from doorstream.dialects.pdk.subscriptions import subscriptions_router
from doorstream.gateway.engineio import EngineOptions
from doorstream.protocols.engineio import Timing


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What can be set of this dialect. ``timing`` is of Engine.IO; ``connect_timeout`` is in seconds."""

    limits: Limits
    timing: Timing
    connect_timeout: float


def mount(app: FastAPI, parts: Parts, options: Options) -> None:
    """Serve the dialect; the token route is the one of all dialects (D14)."""
    pdk = Pdk(parts.directory, parts.auth, parts.clock, options.limits)
    app.include_router(pdk_router(pdk))
    app.include_router(subscriptions_router(pdk, parts.webhooks))
    stream = Stream(
        hub=parts.hub,
        log=parts.log,
        auth=parts.auth,
        alarms=parts.alarms,
        presence=parts.presence,
        recovery=Recovery(parts.auth.signer("recovery"), parts.log.epoch, parts.kept),
        clock=parts.clock,
        drop_after=parts.drop_after,
    )
    engine = EngineOptions(timing=options.timing, limits=parts.limits)
    app.mount(PATH.rstrip("/"), stream.mount(parts.gateway, engine, options.connect_timeout))
