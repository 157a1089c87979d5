"""Whether the log is still the one that was opened.

While a NATS of somebody else's is away its store can be deleted, or replaced by an older copy. Whoever went on then
would hand out positions that mean other events, or wait for ever for sequences that come a second time. So after each
reconnect, and whenever the log's extent is asked for, its epoch and its last sequence are compared; until that is done
nothing is written, and a log that is another one ends its user, who starts again and tells its clients of the gap.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from doorstream.log.connection import REQUEST_TIMEOUT
from doorstream.log.errors import ApiError, LogUnavailable
from doorstream.log.snapshot import EPOCH_KEY
from doorstream.log.stream import Extent, Stream

_logger = structlog.get_logger(__name__)

_PAUSE = 0.1
_TRIES = 30
"""How often in a row the stream must not be found: a cluster that elects may not know it for a moment."""


class ReplacementGuard:
    """Watches over one open stream."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._epoch = ""
        self._highest = 0
        self._connections = 0
        self._is_replaced = False
        self._callbacks: list[Callable[[], None]] = []
        self._asked = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._checked = asyncio.Event()  # since the connection was last made

    def on_replaced(self, callback: Callable[[], None]) -> None:
        """Have ``callback`` called, once, when the stream is another one or is gone: now, if that is known already."""
        self._callbacks.append(callback)
        if self._is_replaced:
            callback()

    def start(self, epoch: str) -> None:
        """From now on it has to be the stream of that epoch."""
        self._epoch = epoch
        self._checked.set()
        connection = self._stream.connection
        connection.on_disconnect(self._disconnected)
        connection.on_reconnect(self._reconnected)
        self._keeper = asyncio.create_task(self._keep(), name="log guard")

    async def stop(self) -> None:
        """Watch no longer."""
        self._stream.connection.off_reconnect(self._reconnected)
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)

    def saw(self, sequence: int) -> None:
        """Something with that sequence was stored: a log that ends before it is another one."""
        self._highest = max(self._highest, sequence)

    @property
    def highest(self) -> int:
        """The last sequence that was seen."""
        return self._highest

    @property
    def is_checked(self) -> bool:
        """Whether the stream is known to be the one that was opened, since the connection was last made."""
        return self._checked.is_set()

    async def checked(self) -> None:
        """Wait until that is known; raises LogUnavailable, at once while NATS is away."""
        if not self._stream.connection.client.is_connected:
            raise LogUnavailable("NATS is away")
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT):
                await self._checked.wait()
        except TimeoutError:
            raise LogUnavailable("NATS did not answer") from None

    async def extent(self) -> Extent:
        """What the stream holds; raises LogUnavailable, also when it is another one."""
        try:
            return await self._look()
        except ApiError as error:
            self._checked.clear()
            self._asked.set()
            raise LogUnavailable(str(error)) from None

    async def _look(self) -> Extent:
        highest, connection = self._highest, self._connections
        metadata, extent = await self._stream.look()
        if metadata.get(EPOCH_KEY) != self._epoch or extent.last < highest:
            self._replaced(f"it is of another epoch, or ends at {extent.last} where {highest} was seen")
        if self._is_replaced:
            raise LogUnavailable("the log was replaced")
        if connection == self._connections:  # an answer of before says nothing of who answers now
            self._checked.set()
        return extent

    def _disconnected(self) -> None:
        self._connections += 1
        self._checked.clear()

    async def _reconnected(self) -> None:
        self._asked.set()

    async def _keep(self) -> None:
        while not self._is_replaced:
            await self._asked.wait()
            self._asked.clear()
            await self._check()

    async def _check(self) -> None:
        """Look until it is known what the stream is, or the connection is lost: the next one is looked at again."""
        tries = 0
        while self._stream.connection.client.is_connected and not self._is_replaced:
            try:
                self.saw((await self._look()).last)
            except LogUnavailable:
                tries = 0
            except ApiError as error:
                tries += 1
                if tries >= _TRIES:
                    self._replaced(str(error))
            else:
                return
            await asyncio.sleep(_PAUSE)

    def _replaced(self, how: str) -> None:
        if self._is_replaced:
            return
        self._is_replaced = True
        self._checked.clear()
        _logger.error("the log is not the one that was opened", how=how)
        for callback in self._callbacks:
            callback()
