"""The history: an SQLite index of the log, and its queries."""

from doorstream.history.index import Index
from doorstream.history.query import MAX_LIMIT, Page, Query

__all__ = ["MAX_LIMIT", "Index", "Page", "Query"]
