"""Small signed texts that only this installation can make and read back: recovery ids, tickets."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

from doorstream.auth.errors import InvalidToken

_MAC_BYTES = 16


class Signer:
    """Signs bytes for one purpose with HMAC-SHA-256; what was signed for another purpose is refused.

    Signed, not encrypted: whoever holds the text can read it.
    """

    def __init__(self, secret: bytes, purpose: str) -> None:
        self._key = hmac.digest(secret, purpose.encode(), hashlib.sha256)

    def sign(self, payload: bytes) -> str:
        """The payload and its signature as text for URLs (``A-Z a-z 0-9 - _``)."""
        return base64.urlsafe_b64encode(payload + self._mac(payload)).rstrip(b"=").decode()

    def verify(self, text: str) -> bytes:
        """The payload; raises InvalidToken for anything that ``sign`` did not make."""
        try:
            signed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raise InvalidToken from None
        payload, mac = signed[:-_MAC_BYTES], signed[-_MAC_BYTES:]
        # The last character of base64 may have spare bits: only the one spelling that we made counts.
        if not hmac.compare_digest(mac, self._mac(payload)) or self.sign(payload) != text:
            raise InvalidToken
        return payload

    def _mac(self, payload: bytes) -> bytes:
        return hmac.digest(self._key, payload, hashlib.sha256)[:_MAC_BYTES]
