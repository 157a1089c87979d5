"""What can be wrong with a SignalR client.

::

    SignalRError
    ├── HandshakeError   the first message asks for something that is not spoken here
    └── MessageError     a message cannot be read, or is larger than it may be

Both end the connection; the text is for the client.
"""


class SignalRError(Exception):
    """A client sent something that the SignalR hub protocol does not allow."""


class HandshakeError(SignalRError):
    """The handshake cannot be answered with success."""


class MessageError(SignalRError):
    """A message cannot be read, or is larger than it may be."""
