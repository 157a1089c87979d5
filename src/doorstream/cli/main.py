"""The command line: what there is, and how errors end a command."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any

import cyclopts

from doorstream import __version__
from doorstream.cli import credentials, ingest, serve, simulate, tail
from doorstream.cli.errors import CommandError

app = cyclopts.App(
    name="doorstream",
    help="A self-hosted, real-time event server for physical access control and smart buildings.",
    version=__version__,
)
app.command(serve.serve)
app.command(serve.demo)
app.command(simulate.simulate)
app.command(ingest.ingest)
app.command(tail.tail)
app.command(credentials.client)
app.command(credentials.user)
app.command(credentials.token)


def main() -> None:
    """Run the command that was asked for; ends the process with its exit status."""
    try:
        result = app(result_action="return_value")
        if isinstance(result, Coroutine):
            _run(result)
    except CommandError as error:
        print(f"doorstream: {error}", file=sys.stderr)  # noqa: T201 - this is a terminal
        sys.exit(error.status)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()  # a reader such as head has seen enough
        sys.exit(0)


def _run(command: Coroutine[Any, Any, None]) -> None:
    asyncio.run(command)
