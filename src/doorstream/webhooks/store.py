"""The stream of webhooks: the ledger of attempts, retries that wait, and how far each webhook has come."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Coroutine, Sequence
from typing import Any

import structlog

from doorstream.directory.keys import escape, unescape
from doorstream.log import (
    MAX_BATCH,
    Connection,
    Extent,
    LogError,
    Message,
    Stream,
)
from doorstream.webhooks.records import CURSOR, DUE, LATER, SUBJECTS

_logger = structlog.get_logger(__name__)

STREAM = "WEBHOOKS"
MIN_AGE = 7 * 86_400.0
"""Seconds: the ledger is kept at least as long, as events that are held back are known by it alone."""

_EPOCH = "doorstream-epoch"
_NANO = 1_000_000_000
_RETRY = 0.5


class Store:
    """Writes the stream. ``age`` in seconds is for how long attempts are kept."""

    def __init__(self, connection: Connection, *, age: float) -> None:
        self.stream = Stream(connection, STREAM)
        self._connection = connection
        self._age = max(age, MIN_AGE)
        self._background: set[asyncio.Task[None]] = set()
        self.epoch = ""

    async def open(self) -> None:
        """Make the stream ready; raises ApiError or LogUnavailable."""
        config = {
            "subjects": [SUBJECTS],
            "storage": "file",
            "retention": "limits",
            "discard": "old",
            "max_age": int(self._age * _NANO),
            "allow_direct": True,
            "allow_atomic": True,
            "allow_msg_ttl": True,
            "allow_msg_schedules": True,
            "allow_rollup_hdrs": True,
        }
        await self.stream.open(config, {_EPOCH: secrets.token_hex(4)})
        self.epoch = self.stream.metadata[_EPOCH]

    async def close(self) -> None:
        """Stop writing."""
        for task in tuple(self._background):
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        await self.stream.close()

    async def extent(self) -> Extent:
        """What the stream holds; raises LogUnavailable."""
        return await self.stream.extent()

    async def put(self, messages: Sequence[Message]) -> int:
        """Keep these, all or none; returns the sequence of the last. Raises LogUnavailable or StorageFull."""
        if len(messages) == 1:
            return (await self.stream.commit.append(messages[0])).sequence
        return (await self.stream.commit.append_batch(messages))[-1].sequence

    def spawn(self, writing: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Write in the background, for as long as this is open."""
        task = asyncio.get_running_loop().create_task(writing)
        self._background.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._background.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _logger.error("the stream of webhooks cannot be written", exc_info=error)

    async def put_surely(self, messages: Sequence[Message]) -> int:
        """As ``put``, again and again until it is kept: what happened cannot be undone. It may be kept twice."""
        told = False
        while True:
            try:
                return await self.put(messages)
            except LogError as error:
                if not told:
                    told = True
                    _logger.warning("the ledger of webhooks has to wait", reason=str(error))
            await asyncio.sleep(_RETRY)

    async def put_many(self, messages: Sequence[Message]) -> None:
        """Keep any number, some hundreds at a time; raises LogUnavailable or StorageFull in the middle."""
        for start in range(0, len(messages), MAX_BATCH):
            await self.put(messages[start : start + MAX_BATCH])

    async def webhooks(self) -> set[str]:
        """The ids of those of which a position is kept or something fell due; raises ApiError or LogUnavailable.

        A retry that waits for its time is not looked at: each is a subject of its own, and falls due in the end.
        """
        found: set[str] = set()
        for kind in (CURSOR, DUE):
            asked = {"subjects_filter": f"webhooks.{kind}.*"}
            subjects = (await self._connection.api(f"STREAM.INFO.{STREAM}", asked))["state"].get("subjects") or {}
            found.update(unescape(subject.rpartition(".")[2]) for subject in subjects)
        return found

    async def forget(self, webhook_id: str) -> None:
        """Let go of all that waits of a webhook that is gone; its attempts age by themselves."""
        token = escape(webhook_id)
        for subject in (f"webhooks.{LATER}.{token}.>", f"webhooks.{DUE}.{token}", f"webhooks.{CURSOR}.{token}"):
            await self._purge({"filter": subject})

    async def forget_dues(self, webhook_id: str, before: int) -> None:
        """Let go of what fell due before a place in the stream and is attempted."""
        await self._purge({"filter": f"webhooks.{DUE}.{escape(webhook_id)}", "seq": before})

    async def _purge(self, what: dict[str, object]) -> None:
        try:
            await self._connection.api(f"STREAM.PURGE.{STREAM}", what)
        except LogError as error:
            _logger.warning("the stream of webhooks cannot be tidied", reason=str(error))
