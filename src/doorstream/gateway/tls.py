"""TLS on the listening socket, with a certificate that can be replaced while connections stay open.

Whoever renews certificates replaces the files. The context that listens never changes; for each new connection it
hands over to the context that was made of the files last, so that a half-written pair never takes a working one away.
"""

from __future__ import annotations

import ssl
from pathlib import Path

_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"
_KEY = b"PRIVATE KEY-----"
_MISMATCH = "KEY_VALUES_MISMATCH"

_Version = tuple[tuple[int, int, int], ...]


class CertificateError(Exception):
    """The certificate or its key cannot be used; the message is one line for the operator."""


class _Encrypted(Exception):
    """The key asks for a pass phrase."""


class Certificate:
    """A certificate chain and its key, as PEM files. Raises CertificateError when they cannot be used."""

    def __init__(self, chain: Path, key: Path) -> None:
        self._chain = chain
        self._key = key
        self._version: _Version | None = None
        self._current = self._read()
        self._listening = self._read()
        self._listening.sni_callback = self._choose

    @property
    def context(self) -> ssl.SSLContext:
        """For the listening socket: TLS 1.2 or newer, with the certificate that was read last."""
        return self._listening

    def renew(self) -> None:
        """Read the files again, for connections from now on; raises CertificateError and keeps what there was."""
        self._current = self._read()

    def renew_if_changed(self) -> bool:
        """``renew`` if the files are others than those that were read, and whether they were."""
        if self._seen() == self._version:
            return False
        self.renew()
        return True

    def _choose(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = self._current

    def _seen(self) -> _Version | None:
        try:
            return tuple(
                (stat.st_ino, stat.st_size, stat.st_mtime_ns) for stat in (self._chain.stat(), self._key.stat())
            )
        except OSError:
            return None  # being replaced: the next look finds it

    def _read(self) -> ssl.SSLContext:
        version = self._seen()
        for path, mark, what in ((self._chain, _CERTIFICATE, "certificate"), (self._key, _KEY, "private key")):
            try:
                content = path.read_bytes()
            except OSError as error:
                raise CertificateError(f"{path} cannot be read: {error.strerror}") from None
            if mark not in content:
                raise CertificateError(f"{path} holds no {what} in PEM form")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(self._chain, self._key, password=_refuse)
        except _Encrypted:
            raise CertificateError(f"{self._key} is protected by a pass phrase: store it without one") from None
        except ssl.SSLError as error:
            if error.reason == _MISMATCH:
                raise CertificateError(f"{self._key} is not the key of {self._chain}") from None
            raise CertificateError(f"{self._chain} and {self._key} cannot be used: {error.reason or error}") from None
        self._version = version
        return context


def _refuse() -> str:
    """Instead of OpenSSL's own question on the terminal."""
    raise _Encrypted
