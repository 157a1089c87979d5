"""Signatures of outgoing requests.

Standard Webhooks 1.0.0: ``webhook-signature`` is a list of ``v1,…`` (HMAC-SHA256, secret ``whsec_…``) and ``v1a,…``
(ed25519, private key ``whsk_…``, public key ``whpk_…``) over ``id.timestamp.body``. During a rotation the old and the
new secret both sign. PDK: hex HMAC-SHA1 of the body (vendor-apis.md 1.3).
"""

from __future__ import annotations

import base64
import binascii
import functools
import hashlib
import hmac
import secrets as randomness
from collections.abc import Callable, Iterable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SYMMETRIC = "whsec_"
PRIVATE = "whsk_"
PUBLIC = "whpk_"
ID_HEADER = "webhook-id"
TIMESTAMP_HEADER = "webhook-timestamp"
SIGNATURE_HEADER = "webhook-signature"

_NEW_SECRET_BYTES = 32
_SECRET_BYTES = range(24, 65)  # "192 bits, 512 maximum"
_SEED_BYTES = 32
_PAIR_BYTES = 64


class BadSecret(ValueError):
    """A text that cannot sign; the message never contains it."""


def new_secret() -> str:
    """A new symmetric secret, ``whsec_…``."""
    return SYMMETRIC + _encode(randomness.token_bytes(_NEW_SECRET_BYTES))


def new_key_pair() -> tuple[str, str]:
    """A new private key ``whsk_…``, to be kept secret here, and its public key ``whpk_…`` for the receiver.

    The private key's text holds the seed and the public key, 64 bytes, as the makers of the scheme write it.
    """
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes_raw()
    return PRIVATE + _encode(key.private_bytes_raw() + public), PUBLIC + _encode(public)


def public_key(private: str) -> str:
    """The ``whpk_…`` that belongs to a ``whsk_…``; raises BadSecret."""
    return PUBLIC + _encode(_private_key(private).public_key().public_bytes_raw())


def check_secret(secret: str) -> None:
    """Raise BadSecret unless the text can sign: ``whsec_`` with 24 to 64 bytes, or ``whsk_`` with 32 or 64."""
    _signer(secret)


def message_id(text: str) -> str:
    """A ``webhook-id`` made of an event's id: it must not contain a full stop, which separates what is signed.

    Different texts stay different.
    """
    return text.replace("%", "%25").replace(".", "%2E")


def sign(secrets: Iterable[str], message: str, timestamp: int, body: bytes) -> str:
    """The value of ``webhook-signature``: one signature for each secret, in their order.

    ``message`` is the ``webhook-id`` and ``timestamp`` the time of this attempt in seconds since 1970. Raises
    BadSecret, and ValueError for an id with a full stop in it.
    """
    if "." in message:
        raise ValueError("a message's id has no full stop in it")
    signed = b"%b.%d.%b" % (message.encode(), timestamp, body)
    return " ".join(_signer(secret)(signed) for secret in secrets)


def headers(secrets: Iterable[str], message: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The three headers of Standard Webhooks; raises as ``sign`` does."""
    return {
        ID_HEADER: message,
        TIMESTAMP_HEADER: str(timestamp),
        SIGNATURE_HEADER: sign(secrets, message, timestamp, body),
    }


def pdk_signature(secret: str, body: bytes) -> str:
    """Hex HMAC-SHA1 of the body, keyed with the subscription's secret as it is (vendor-apis.md 1.3, row 5)."""
    return hmac.digest(secret.encode(), body, "sha1").hex()


@functools.lru_cache(maxsize=4096)  # reading an ed25519 key costs as much as signing with it
def _signer(secret: str) -> Callable[[bytes], str]:
    if secret.startswith(PRIVATE):
        key = _private_key(secret)
        return lambda signed: "v1a," + _encode(key.sign(signed))
    if not secret.startswith(SYMMETRIC):
        raise BadSecret(f"a secret starts with {SYMMETRIC} or {PRIVATE}")
    shared = _decode(secret.removeprefix(SYMMETRIC))
    if len(shared) not in _SECRET_BYTES:
        raise BadSecret(f"a secret has {_SECRET_BYTES[0]} to {_SECRET_BYTES[-1]} bytes")
    keyed = hmac.new(shared, digestmod=hashlib.sha256)

    def sign_v1(signed: bytes) -> str:
        mac = keyed.copy()
        mac.update(signed)
        return "v1," + _encode(mac.digest())

    return sign_v1


def _private_key(text: str) -> Ed25519PrivateKey:
    if not text.startswith(PRIVATE):
        raise BadSecret(f"a private key starts with {PRIVATE}")
    data = _decode(text.removeprefix(PRIVATE))
    if len(data) not in {_SEED_BYTES, _PAIR_BYTES}:
        raise BadSecret(f"a private key has {_SEED_BYTES} bytes, or {_PAIR_BYTES} with its public key")
    key = Ed25519PrivateKey.from_private_bytes(data[:_SEED_BYTES])
    if data[_SEED_BYTES:] not in {b"", key.public_key().public_bytes_raw()}:
        raise BadSecret("the two halves of the private key do not belong together")
    return key


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise BadSecret("a secret is base64 behind its prefix") from None
