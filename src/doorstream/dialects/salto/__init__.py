"""Salto KS: SignalR hubs for entries and incidents (seed 003)."""
