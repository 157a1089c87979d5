"""The opening handshake of RFC 6455 section 4, from the server's side."""

import base64
import binascii
import hashlib
import http
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote

from doorstream.protocols.websocket.errors import HandshakeError

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY_BYTES = 16
_REQUEST_LINE_PARTS = 3
_VERSION = "13"


@dataclass(frozen=True, slots=True)
class UpgradeRequest:
    """The head of a request, kept as the bytes that came and read when asked.

    An idle connection keeps its request for as long as it lives, so it holds one `bytes` object and no
    dictionaries; reading a part of it costs microseconds and is done at the handshake.
    """

    head: bytes
    peer: str = ""

    @classmethod
    def parse(cls, head: bytes, peer: str = "") -> "UpgradeRequest":
        """Take a request head, blank line optional; raises HandshakeError (400) if it is not one."""
        request = cls(head.rstrip(b"\r\n"), peer)
        line, *headers = request.head.split(b"\r\n")
        if len(line.split(b" ")) != _REQUEST_LINE_PARTS or not all(b":" in header for header in headers):
            raise HandshakeError(400, "malformed request")
        return request

    @classmethod
    def build(
        cls, method: str, target: bytes, headers: Iterable[tuple[bytes, bytes]], peer: str = ""
    ) -> "UpgradeRequest":
        """Make one from parts, for requests that an HTTP server has read already."""
        lines = [method.encode() + b" " + target + b" HTTP/1.1"]
        lines.extend(name + b": " + value for name, value in headers)
        return cls(b"\r\n".join(lines), peer)

    @property
    def method(self) -> str:
        """The method, as sent."""
        return self._line(0)

    @property
    def target(self) -> str:
        """Path and query as sent, percent signs and all."""
        return self._line(1)

    @property
    def http_version(self) -> str:
        """For example `HTTP/1.1`."""
        return self._line(2)

    @property
    def path(self) -> str:
        """The decoded path, without the query."""
        return unquote(self.target.partition("?")[0])

    @property
    def query(self) -> list[tuple[str, str]]:
        """The decoded query in the order sent, repeats and empty values included."""
        return parse_qsl(self.target.partition("?")[2], keep_blank_values=True)

    def get(self, name: str, default: str | None = None) -> str | None:
        """Give the first value of a name in the query."""
        return next((value for key, value in self.query if key == name), default)

    @property
    def headers(self) -> dict[str, str]:
        """Headers with lower-case names; repeats are joined as HTTP joins them (RFC 9110 5.3; cookies by `; `)."""
        found: dict[str, str] = {}
        for line in self.head.decode("latin-1").split("\r\n")[1:]:
            name, _, value = line.partition(":")
            key = name.strip().lower()
            value = value.strip()
            found[key] = f"{found[key]}{'; ' if key == 'cookie' else ', '}{value}" if key in found else value
        return found

    @property
    def cookies(self) -> dict[str, str]:
        """Cookies by name; of repeats the first counts, as it has the more specific path (RFC 6265 5.4)."""
        found: dict[str, str] = {}
        for part in self.headers.get("cookie", "").split(";"):
            name, separator, value = part.strip().partition("=")
            if separator:
                found.setdefault(name, value.strip('"'))
        return found

    @property
    def origin(self) -> str | None:
        """The Origin header, which browsers always send."""
        return self.headers.get("origin")

    def _line(self, index: int) -> str:
        return self.head.partition(b"\r\n")[0].decode("latin-1").split(" ")[index]


def check(request: UpgradeRequest) -> None:
    """Raise HandshakeError if the request is no WebSocket upgrade that a server may accept (RFC 6455 4.2.1)."""
    headers = request.headers
    if request.method != "GET":
        raise HandshakeError(405, "a WebSocket is opened with GET", (("Allow", "GET"),))
    if request.http_version != "HTTP/1.1" or "host" not in headers:
        raise HandshakeError(400, "a WebSocket is opened with HTTP/1.1 and a Host header")
    if "websocket" not in _tokens(headers.get("upgrade", "")) or "upgrade" not in _tokens(
        headers.get("connection", "")
    ):
        raise HandshakeError(426, "only WebSocket is spoken here", (("Upgrade", "websocket"),))
    if headers.get("sec-websocket-version") != _VERSION:
        raise HandshakeError(426, "only version 13 is spoken here", (("Sec-WebSocket-Version", _VERSION),))
    if not _is_key(headers.get("sec-websocket-key", "")):
        raise HandshakeError(400, "Sec-WebSocket-Key is not 16 bytes in base64")


def accept(request: UpgradeRequest, subprotocol: str | None = None) -> bytes:
    """Build the 101 answer; the caller has checked the request and picked a subprotocol the client offered."""
    key = request.headers["sec-websocket-key"].encode("latin-1")
    proof = base64.b64encode(hashlib.sha1(key + _GUID).digest()).decode()  # noqa: S324 - RFC 6455 4.2.2 prescribes it
    lines = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {proof}",
    ]
    if subprotocol is not None:
        lines.append(f"Sec-WebSocket-Protocol: {subprotocol}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def refuse(status: int, headers: Iterable[tuple[str, str]] = (), body: bytes = b"") -> bytes:
    """Build a complete HTTP answer that refuses the upgrade and ends the connection."""
    try:
        phrase = http.HTTPStatus(status).phrase
    except ValueError:
        phrase = "Refused"
    lines = [f"HTTP/1.1 {status} {phrase}"]
    lines.extend(f"{name}: {value}" for name, value in headers if name.lower() not in {"content-length", "connection"})
    lines += ["Connection: close", f"Content-Length: {len(body)}"]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


def _tokens(value: str) -> list[str]:
    return [token.strip().lower() for token in value.split(",")]


def _is_key(value: str) -> bool:
    try:
        return len(base64.b64decode(value.encode("ascii"), validate=True)) == _KEY_BYTES
    except (binascii.Error, UnicodeEncodeError, ValueError):
        return False
