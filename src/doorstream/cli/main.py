"""The command line: what there is, and how errors end a command."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any

import cyclopts
from cyclopts import Parameter
from cyclopts.config import Env, Toml

from doorstream import __version__
from doorstream.cli.errors import CommandError

app = cyclopts.App(
    name="doorstream",
    help="A self-hosted, real-time event server for physical access control and smart buildings.",
    version=__version__,
)
# Named and not imported: a server would otherwise wait at each start for what only other commands need.
for _command in (
    "serve:serve",
    "serve:demo",
    "simulate:simulate",
    "ingest:ingest",
    "tail:tail",
    "credentials:client",
    "credentials:user",
    "credentials:token",
    "webhook:webhook",
    "driver:driver",
    "check:check",
    "operations:backup",
    "operations:restore",
    "operations:index",
):
    app.command(f"doorstream.cli.{_command}")


_CONFIGURABLE = ("serve", "demo", "check")


@app.meta.default
def launch(
    *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
    config: Path | None = None,
) -> Any:
    """Run a command.

    Parameters
    ----------
    config:
        A TOML file with options of ``serve`` or ``demo``; docs/doorstream.toml has all of them. What stands on the
        command line counts more, then environment variables such as DOORSTREAM_PORT, then this file.
    """
    if tokens and tokens[0] in _CONFIGURABLE:
        sources: list[Any] = [Env("DOORSTREAM_", command=False)]
        if config is not None:
            if not config.is_file():
                raise CommandError(f"--config: there is no file {config}", status=2)
            sources.append(Toml(config, use_commands_as_keys=False))
        app[tokens[0]].config = tuple(sources)
    elif config is not None and tokens:
        raise CommandError("--config is for serve, demo and check", status=2)
    return app(tokens, result_action="return_value")


def main() -> None:
    """Run the command that was asked for; ends the process with its exit status."""
    if sys.argv[1:2] in ([], ["-h"], ["--help"]):
        for command in app:
            app[command]  # their descriptions are wanted
    try:
        result = app.meta(result_action="return_value")
        if isinstance(result, Coroutine):
            _run(result)
    except CommandError as error:
        print(f"doorstream: {error}", file=sys.stderr)
        sys.exit(error.status)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()  # a reader such as head has seen enough
        sys.exit(0)


def _run(command: Coroutine[Any, Any, None]) -> None:
    asyncio.run(command)
