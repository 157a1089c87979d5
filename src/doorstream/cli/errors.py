"""How a command ends when it cannot do what it was asked: one line, and an exit status."""

from __future__ import annotations


class CommandError(Exception):
    """The command cannot go on; the message is one line for the person at the terminal.

    ``status`` 1: the server said no, or what was given is wrong; 2: something it needs is not there.
    """

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status
