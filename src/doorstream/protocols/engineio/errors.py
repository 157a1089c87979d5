"""What can be wrong with an Engine.IO client.

::

    EngineIOError
    ├── PacketError     one packet cannot be read
    ├── PayloadError    the body of a polling request cannot be cut into packets
    └── SessionError    a packet that this protocol version does not allow here

All three end the session.
"""


class EngineIOError(Exception):
    """A client sent something that the Engine.IO protocol does not know."""


class PacketError(EngineIOError):
    """One packet cannot be read."""


class PayloadError(EngineIOError):
    """The body of a polling request cannot be cut into packets."""


class SessionError(EngineIOError):
    """A packet that is well formed and out of place."""
