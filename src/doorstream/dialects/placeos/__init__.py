"""The PlaceOS dialect: the control WebSocket, the REST beside it and the sign-in that its browser client needs."""

from doorstream.dialects.placeos.mount import Options, mount

__all__ = ["Options", "mount"]
