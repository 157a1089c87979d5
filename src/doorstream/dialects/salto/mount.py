"""Puts the Salto KS dialect together: the two hubs, and the lists beside them."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import FastAPI
from starlette.routing import Route

from doorstream.auth import ExternalIssuer, ExternalTokens
from doorstream.dialects.parts import Parts
from doorstream.dialects.salto.messages import Shapes
from doorstream.dialects.salto.rest import Salto, salto_router
from doorstream.dialects.salto.routes import Stream
from doorstream.gateway.signalr import HubOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What can be set of this dialect.

    ``identity`` is the server whose tokens are taken, None for our own; ``close_at_expiry`` as in D8.
    """

    identity: ExternalIssuer | None = None
    close_at_expiry: bool = False


def mount(app: FastAPI, parts: Parts, options: Options) -> None:
    """Serve the dialect; the token route is the one of all dialects (D14)."""
    auth, directory = parts.auth, parts.directory
    tokens = auth.access if options.identity is None else ExternalTokens(options.identity, directory)
    stream = Stream(
        hub=parts.hub,
        log=parts.log,
        index=parts.index,
        directory=directory,
        tokens=tokens,
        alarms=parts.alarms,
        presence=parts.presence,
        shapes=Shapes(directory.site, parts.retention),
        clock=parts.clock,
        close_at_expiry=options.close_at_expiry,
        drop_after=parts.drop_after,
    )
    hub_options = HubOptions(limits=parts.limits)
    for path, negotiation in stream.mount(parts.gateway, hub_options, auth.signer("signalr")).items():
        app.router.routes.append(Route(path, negotiation))  # not mounted: that redirects to a slash at the end
    salto = Salto(directory, tokens, parts.index, stream.shapes, parts.clock, parts.public_url)
    app.include_router(salto_router(salto))
