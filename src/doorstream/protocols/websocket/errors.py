"""What can be wrong with a WebSocket peer, by what it costs.

::

    WebSocketError
    ├── HandshakeError      the upgrade request is refused with an HTTP status
    └── ConnectionFailed    the open connection is ended with a close code
        ├── ProtocolViolation   1002: frames that RFC 6455 forbids
        ├── InvalidText         1007: text that is not UTF-8
        └── MessageTooBig       1009: more than this end takes
"""

from typing import ClassVar

from doorstream.protocols.websocket.frames import CloseCode


class WebSocketError(Exception):
    """A peer did something that RFC 6455 or our limits do not allow."""


class HandshakeError(WebSocketError):
    """The upgrade request is refused; `status` and `headers` are the HTTP answer, the message its body."""

    def __init__(self, status: int, message: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers


class ConnectionFailed(WebSocketError):
    """The connection cannot go on; `code` is sent in the close frame, the message is its reason."""

    code: ClassVar[int] = CloseCode.PROTOCOL_ERROR


class ProtocolViolation(ConnectionFailed):
    """A frame that RFC 6455 forbids."""


class InvalidText(ConnectionFailed):
    """A text message or a close reason that is not UTF-8 (RFC 6455 8.1)."""

    code = CloseCode.INVALID_DATA


class MessageTooBig(ConnectionFailed):
    """A message larger than this end takes; noticed in the frame header, before anything is kept."""

    code = CloseCode.MESSAGE_TOO_BIG
