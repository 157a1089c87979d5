"""Who and what exists; the in-memory mirror of the directory's bucket."""

from doorstream.directory.cloud_node_events import SYSTEM, Actor
from doorstream.directory.directory import Directory, Wanted, uuid7
from doorstream.directory.errors import AlreadyExists, Conflict, DirectoryError, InvalidEntity, NotFound
from doorstream.directory.outbox import Emit
from doorstream.directory.scopes import SCOPES
from doorstream.directory.site import CloudNodeStatus, SiteView
from doorstream.directory.table import Page, Place, Table

__all__ = [
    "SCOPES",
    "SYSTEM",
    "Actor",
    "AlreadyExists",
    "CloudNodeStatus",
    "Conflict",
    "Directory",
    "DirectoryError",
    "Emit",
    "InvalidEntity",
    "NotFound",
    "Page",
    "Place",
    "SiteView",
    "Table",
    "Wanted",
    "uuid7",
]
