"""Why somebody is not let in.

::

    AuthError
    ├── InvalidCredentials   no, unknown or wrong credentials; which of them is never said
    ├── InvalidToken         a token that is forged, of another kind, expired where that matters, or revoked
    └── NotPermitted         known, but not allowed to do this
"""

from __future__ import annotations


class AuthError(Exception):
    """The caller is not let in."""


class InvalidCredentials(AuthError):
    """No credentials, unknown ones or wrong ones."""

    def __init__(self, message: str = "the credentials are missing or not valid") -> None:
        super().__init__(message)


class InvalidToken(AuthError):
    """A token that is not ours, of another kind, expired where that matters, or revoked."""

    def __init__(self, message: str = "invalid token") -> None:
        super().__init__(message)


class NotPermitted(AuthError):
    """The caller is known and may not do this; the message says what is missing."""
