"""The PDK dialect: the Streaming API over Socket.IO, and the token and REST routes that its clients use."""

from doorstream.dialects.pdk.mount import Options, mount

__all__ = ["Options", "mount"]
