"""What can be wrong with a Socket.IO client.

::

    SocketIOError
    ├── PacketError     a packet cannot be read
    └── SessionError    a packet that is not allowed in this state

Both end the connection.
"""


class SocketIOError(Exception):
    """A client sent something that the Socket.IO protocol does not allow."""


class PacketError(SocketIOError):
    """A packet cannot be read."""


class SessionError(SocketIOError):
    """A packet that is well formed and out of place."""
