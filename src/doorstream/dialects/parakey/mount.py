"""Puts the Parakey dialect together: the event log to poll, and the lists beside it."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import FastAPI

from doorstream.dialects.parakey.callers import Callers
from doorstream.dialects.parakey.event_logs import EventLogs
from doorstream.dialects.parakey.grants import Grants
from doorstream.dialects.parakey.lists import Lists
from doorstream.dialects.parakey.routes import add, operations
from doorstream.dialects.parts import Parts


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What can be set of this dialect: nothing yet."""


def mount(app: FastAPI, parts: Parts, _: Options) -> None:
    """Serve the dialect."""
    directory = parts.directory
    callers = Callers(parts.auth, directory)
    logs = EventLogs(callers, directory, parts.index, parts.log.epoch, parts.public_url)
    add(app, operations(logs, Lists(callers, directory, parts.public_url), Grants(callers, directory), callers))
