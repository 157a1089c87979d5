"""Parakey: an event log to poll with ETags (seed 002)."""

from doorstream.dialects.parakey.mount import Options, mount

__all__ = ["Options", "mount"]
