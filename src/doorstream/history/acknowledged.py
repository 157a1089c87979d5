"""Up to where the log is acknowledged, asked of NATS once for all who want to know at the same time.

A process that is the only one to write knows it by itself.
"""

from __future__ import annotations

import asyncio

from doorstream.log import EventLog, LogError, LogUnavailable


class Acknowledged:
    """Answers with the last sequence of the log.

    An answer counts only for those who asked before the question left: what is acknowledged while it is on its way
    may be missing from it. So there is one question on its way at most, and one group that waits for the next.
    """

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._waiting: list[asyncio.Future[int]] = []
        self._asking: asyncio.Task[None] | None = None
        self._is_stopped = False

    def ask(self) -> asyncio.Future[int]:
        """The last sequence that was acknowledged before this call; fails with a LogError."""
        loop = asyncio.get_running_loop()
        waiting: asyncio.Future[int] = loop.create_future()
        known = self._log.acknowledged
        if known is not None:
            waiting.set_result(known)
            return waiting
        if self._is_stopped:
            _fail([waiting], _ended())
            return waiting
        self._waiting.append(waiting)
        if self._asking is None:  # a task begins in the next turn of the loop: all that ask in this one share it
            self._asking = loop.create_task(self._answer(), name="acknowledged")
        return waiting

    def stop(self) -> None:
        """Fail those who wait, and whoever asks from now on."""
        self._is_stopped = True
        if self._asking is not None:
            self._asking.cancel()
        _fail(self._waiting, _ended())  # here: a task that has not begun yet never does

    async def _answer(self) -> None:
        group: list[asyncio.Future[int]] = []
        try:
            while self._waiting:
                group, self._waiting = self._waiting, []
                try:
                    last = (await self._log.extent()).last
                except LogError as error:
                    _fail(group, error)
                else:
                    for waiting in group:
                        if not waiting.done():
                            waiting.set_result(last)
        finally:
            self._asking = None
            _fail(group + self._waiting, _ended())


def _ended() -> LogError:
    return LogUnavailable("shutting down")


def _fail(group: list[asyncio.Future[int]], error: LogError) -> None:
    for waiting in group:
        if not waiting.done():
            waiting.set_exception(error)
