"""The history: an SQLite index of the log, and its queries."""

from doorstream.history.index import Index
from doorstream.history.last_unlocks import LastUnlocks
from doorstream.history.query import MAX_LIMIT, ByTime, Page, Query
from doorstream.history.unlocks import Key, Order, UnlockQuery

__all__ = ["MAX_LIMIT", "ByTime", "Index", "Key", "LastUnlocks", "Order", "Page", "Query", "UnlockQuery"]
