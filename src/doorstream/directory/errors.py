"""What the directory refuses.

::

    DirectoryError
    ├── NotFound         there is no such thing
    ├── AlreadyExists    the id or the user name is taken
    ├── InvalidEntity    a value or a reference that cannot be kept
    └── Conflict         others changed the same thing at the same time, again and again
"""

from __future__ import annotations


class DirectoryError(Exception):
    """The directory refuses what was asked; nothing was stored."""


class NotFound(DirectoryError):
    """There is no such thing: ``kind`` as in ``cloud-node``, and its id."""

    def __init__(self, kind: str, entity_id: str) -> None:
        super().__init__(f"there is no {kind.replace('-', ' ')} {entity_id}")
        self.kind = kind
        self.entity_id = entity_id


class AlreadyExists(DirectoryError):
    """The id, or the name that must be unique, is taken."""

    def __init__(self, kind: str, entity_id: str) -> None:
        super().__init__(f"there is already a {kind.replace('-', ' ')} {entity_id}")
        self.kind = kind
        self.entity_id = entity_id


class InvalidEntity(DirectoryError):
    """A value that cannot be kept; ``where`` is the field's path, ``what`` is wrong with it."""

    def __init__(self, where: str, what: str) -> None:
        super().__init__(f"{where}: {what}" if where else what)
        self.where = where
        self.what = what


class Conflict(DirectoryError):
    """Others changed the same thing at the same time, each time we tried."""

    def __init__(self) -> None:
        super().__init__("others are changing the same thing at the same time: try again")
