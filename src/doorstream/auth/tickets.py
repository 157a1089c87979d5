"""One-time tickets for browsers: a short text in a query instead of a long-lived key (design D11)."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from doorstream.auth.errors import InvalidToken
from doorstream.auth.principal import Principal
from doorstream.auth.signing import Signer

TICKET_TTL = 60.0
"""Seconds within which a ticket must be used."""


class _Ticket(msgspec.Struct, array_like=True):
    id: str
    expires_at: float
    kind: str
    subject: str
    generation: str
    site_id: str
    ends: float | None = None


class Redeemed(NamedTuple):
    """Who a ticket lets in, and when what it was given for ends (unix seconds; None: by itself never)."""

    principal: Principal
    ends: float | None


_decode = msgspec.json.Decoder(_Ticket).decode
_encode = msgspec.json.Encoder().encode


class Tickets:
    """Issues tickets and takes each back once. Times are unix seconds.

    Used tickets are remembered until they would have expired, by this process. One that is older than the process is
    refused, because nobody knows whether it was used; with several workers another worker takes a ticket once more.
    """

    def __init__(self, signer: Signer, resolve: Callable[[str, str, str], Principal | None], since: float) -> None:
        """``resolve(kind, id, generation)`` gives the subject as it stands now, or None when it was revoked.

        ``since`` is when this process began.
        """
        self._since = since
        self._signer = signer
        self._resolve = resolve
        self._used: dict[str, float] = {}

    def issue(self, principal: Principal, site_id: str, now: float, ends: float | None = None) -> str:
        """A ticket with which the bearer is ``principal`` once, for that site.

        ``ends`` is when the session ends in which it was asked for, and with it what the ticket opens.
        """
        ticket = _Ticket(
            secrets.token_hex(12), now + TICKET_TTL, principal.kind, principal.id, principal.generation, site_id, ends
        )
        return self._signer.sign(_encode(ticket))

    def redeem(self, text: str, site_id: str, now: float) -> Redeemed:
        """Who the bearer is; raises InvalidToken when it was used, is too old, is for another site, or is forged."""
        try:
            ticket = _decode(self._signer.verify(text))
        except msgspec.DecodeError:
            raise InvalidToken from None
        self._used = {used: expires_at for used, expires_at in self._used.items() if expires_at > now}
        is_unknown = ticket.id in self._used or ticket.expires_at - TICKET_TTL < self._since
        if is_unknown or ticket.expires_at <= now or ticket.site_id != site_id:
            raise InvalidToken("the ticket was used already, is too old or is for another site")
        principal = self._resolve(ticket.kind, ticket.subject, ticket.generation)
        if principal is None:
            raise InvalidToken
        self._used[ticket.id] = ticket.expires_at
        return Redeemed(principal, ticket.ends)
