"""What is put in: judged, recognised if it was put in before, and kept."""

from doorstream.ingest.ingest import Ingest, Invalid, LineReport, Receipt, Receipts, TooMany
from doorstream.ingest.space import SpaceGuard

__all__ = ["Ingest", "Invalid", "LineReport", "Receipt", "Receipts", "SpaceGuard", "TooMany"]
