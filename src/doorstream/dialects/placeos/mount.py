"""Puts the PlaceOS dialect together: the control socket, the REST beside it, and the sign-in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import FastAPI

from doorstream.dialects.parts import Parts
from doorstream.dialects.placeos.access import Door
from doorstream.dialects.placeos.catalogue import Catalogue
from doorstream.dialects.placeos.requests import PlaceOS
from doorstream.dialects.placeos.rest_modules import drivers_router, modules_router
from doorstream.dialects.placeos.rest_systems import systems_router
from doorstream.dialects.placeos.rest_zones import zones_router
from doorstream.dialects.placeos.routes import Stream
from doorstream.dialects.placeos.signin import signin_router
from doorstream.dialects.placeos.tokens import Tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What can be set of this dialect: origins beside our own whose pages may use a cookie, or sign people in."""

    origins: Sequence[str] = ()


def mount(app: FastAPI, parts: Parts, options: Options) -> None:
    """Serve the dialect."""
    tokens = Tokens(parts.auth)
    door = Door(parts.auth, tokens, (parts.public_url, *options.origins), parts.clock)
    catalogue = Catalogue(parts.directory, parts.drivers)
    stream = Stream.build(
        door=door,
        catalogue=catalogue,
        drivers=parts.drivers,
        alarms=parts.alarms,
        presence=parts.presence,
        limits=parts.limits,
        clock=parts.clock,
        delivered=parts.hub.counts.delivered,
        drop_after=parts.drop_after,
    )
    stream.mount(parts.gateway)
    placeos = PlaceOS(door, catalogue, parts.directory, parts.drivers)
    for router in (systems_router, zones_router, modules_router, drivers_router):
        app.include_router(router(placeos))
    app.include_router(signin_router(door))
