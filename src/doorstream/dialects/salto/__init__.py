"""Salto KS: SignalR hubs for entries and incidents (seed 003)."""

from doorstream.dialects.salto.mount import Options, mount

__all__ = ["Options", "mount"]
