"""Drivers: what brings the events of real or simulated hardware into the log."""
