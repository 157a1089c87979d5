"""The ``doorstream`` command."""

from doorstream.cli.main import main

__all__ = ["main"]
