"""The log: append, follow and read on JetStream, and the embedded server that it runs on by default."""

from doorstream.log.bucket import Bucket
from doorstream.log.commit import MAX_BATCH, Message, Stored
from doorstream.log.connection import Connection
from doorstream.log.errors import (
    ApiError,
    DuplicateId,
    LogError,
    LogUnavailable,
    PositionGone,
    StartError,
    StorageFull,
)
from doorstream.log.event_log import DUPLICATE_WINDOW, EventLog
from doorstream.log.stream import Extent, Stream
from doorstream.log.tail import Record, Tail
from doorstream.log.waiters import Waiters

__all__ = [
    "DUPLICATE_WINDOW",
    "MAX_BATCH",
    "ApiError",
    "Bucket",
    "Connection",
    "DuplicateId",
    "EventLog",
    "Extent",
    "LogError",
    "LogUnavailable",
    "Message",
    "PositionGone",
    "Record",
    "StartError",
    "StorageFull",
    "Stored",
    "Stream",
    "Tail",
    "Waiters",
]
