"""The status of all modules: a NATS KV bucket, and its mirror in the memory of every worker.

Keys are ``status.<module>.<variable>`` (a variable's JSON) and ``state.<module>`` (how the module is doing). The worker
that runs the modules is the only writer. There a change counts at once and is written soon after: many changes are one
atomic batch, and of a variable that changes often only the last value is written; what a door's events give anyway
waits a little longer for that. The other workers get it from the
bucket. So a value is there without asking a driver, and outlives a restart.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from types import MappingProxyType

import msgspec
import structlog

from doorstream.directory.keys import escape, unescape
from doorstream.drivers.views import ModuleState
from doorstream.log import MAX_BATCH, ApiError, Bucket, Connection, LogError

_logger = structlog.get_logger(__name__)

_LINGER = 0.01  # what changes within this time is one batch
_LOG_HAS = frozenset({"last_event", "recent_events"})  # of doors: large, and theirs to find out at each start
_LONG_LINGER = 0.25  # the same for these: of the events of a passage many then cost one write
_RETRY = 0.5
_MAX_BATCH_BYTES = 4_000_000
_CLOSING = 2.0

OnStatus = Callable[[str, str, "bytes | None"], None]
"""Takes a module's id, the variable, and its JSON, or None where it is gone."""
OnState = Callable[[str], None]

_NONE: Mapping[str, bytes] = MappingProxyType({})
_decode_state = msgspec.json.Decoder(ModuleState).decode
_encode = msgspec.json.Encoder().encode


class StatusStore:
    """The status variables of all modules, and how the modules are doing."""

    def __init__(self, connection: Connection, *, is_writer: bool) -> None:
        """``is_writer``: the modules run in this process."""
        self._bucket = Bucket(connection, "doorstream_status")
        self._tail = self._bucket.tail(self._receive)
        self._is_writer = is_writer
        self._is_read = False
        self._values: dict[str, dict[str, bytes]] = {}
        self._states: dict[str, ModuleState] = {}
        self._callbacks: list[OnStatus] = []
        self._state_callbacks: list[OnState] = []
        self._dirty: dict[str, bytes | None] = {}
        self._unhurried: dict[str, bytes | None] = {}
        self._ripening: asyncio.TimerHandle | None = None
        self._wake = asyncio.Event()
        self._flusher: asyncio.Task[None] | None = None
        self.written = 0
        """How many values were written to the bucket."""

    async def open(self) -> None:
        """Create the bucket if need be and read it; raises ApiError or LogUnavailable."""
        await self._bucket.open()
        await self._tail.start(0)
        await self._tail.caught_up()
        self._is_read = True
        if self._is_writer:
            await self._tail.stop()  # what comes back from here on is our own
            self._flusher = asyncio.create_task(self._flush_always(), name="status of modules")

    async def close(self) -> None:
        """Write what is still to be written, if that can be done soon, and stop."""
        if self._flusher is not None:
            self._ripen()
            self._flusher.cancel()
            await asyncio.gather(self._flusher, return_exceptions=True)
            with contextlib.suppress(TimeoutError, LogError):
                async with asyncio.timeout(_CLOSING):
                    while self._dirty:
                        await self._flush()
        else:
            await self._tail.stop()
        await self._bucket.stream.close()

    def value(self, module_id: str, variable: str) -> bytes | None:
        """The JSON of a variable, or None where there is none."""
        return self._values.get(module_id, _NONE).get(variable)

    def all(self, module_id: str) -> Mapping[str, bytes]:
        """All variables of a module. Read it, never change it."""
        return self._values.get(module_id, _NONE)

    def modules(self) -> list[str]:
        """The ids of all modules of which there is any status."""
        return [*{**self._values, **self._states}]

    def state(self, module_id: str) -> ModuleState:
        """How a module is doing."""
        return self._states.get(module_id, _UNKNOWN)

    def on_change(self, callback: OnStatus) -> None:
        """Have ``callback(module id, variable, JSON or None)`` called for each change, from the event loop."""
        self._callbacks.append(callback)

    def on_state(self, callback: OnState) -> None:
        """Have ``callback(module id)`` called when a module is doing otherwise."""
        self._state_callbacks.append(callback)

    def change(self, module_id: str, variable: str, value: bytes | None) -> None:
        """Set a variable, or remove it; only where the modules run."""
        if self._apply(module_id, variable, value):
            key = f"status.{escape(module_id)}.{escape(variable)}"
            if value is not None and variable in _LOG_HAS:
                self._write_later(key, value)
            else:
                self._unhurried.pop(key, None)
                self._write(key, value)

    def change_state(self, module_id: str, state: ModuleState | None) -> None:
        """Set how a module is doing; None where it is gone."""
        if self._apply_state(module_id, state):
            self._write(f"state.{escape(module_id)}", None if state is None else _encode(state))

    def forget(self, module_id: str) -> None:
        """Remove everything of a module that is gone."""
        for variable in tuple(self.all(module_id)):
            self.change(module_id, variable, None)
        self.change_state(module_id, None)

    def _apply(self, module_id: str, variable: str, value: bytes | None) -> bool:
        values = self._values.get(module_id, {})
        if values.get(variable) == value:
            return False
        if value is not None:
            self._values.setdefault(module_id, values)[variable] = value
        else:
            del values[variable]
            if not values:
                del self._values[module_id]
        for callback in self._callbacks:
            try:
                callback(module_id, variable, value)
            except Exception:  # one listener's mistake must not keep the others from it
                _logger.exception("a listener of module status failed", module=module_id)
        return True

    def _apply_state(self, module_id: str, state: ModuleState | None) -> bool:
        if self._states.get(module_id) == state:
            return False
        if state is None:
            del self._states[module_id]
        else:
            self._states[module_id] = state
        for callback in self._state_callbacks:
            try:
                callback(module_id)
            except Exception:  # as above
                _logger.exception("a listener of module states failed", module=module_id)
        return True

    def _receive(self, key: str, data: bytes | None, _revision: int) -> None:
        if self._is_writer and self._is_read:
            return
        kind, _, name = key.partition(".")
        module, _, variable = name.partition(".")
        if kind == "status":
            self._apply(unescape(module), unescape(variable), data)
        elif kind == "state":
            try:
                self._apply_state(unescape(module), None if data is None else _decode_state(data))
            except msgspec.DecodeError:
                _logger.exception("the state of a module cannot be read", key=key)

    def _write(self, key: str, value: bytes | None) -> None:
        self._dirty[key] = value
        self._wake.set()

    def _write_later(self, key: str, value: bytes) -> None:
        self._unhurried[key] = value
        if self._ripening is None:
            self._ripening = asyncio.get_running_loop().call_later(_LONG_LINGER, self._ripen)

    def _ripen(self) -> None:
        if self._ripening is not None:
            self._ripening.cancel()
            self._ripening = None
            self._dirty.update(self._unhurried)
            self._unhurried.clear()
            self._wake.set()

    async def _flush_always(self) -> None:
        told = ""
        while True:
            await self._wake.wait()
            await asyncio.sleep(_LINGER)
            try:
                await self._flush()
                told = ""
            except LogError as error:  # it is kept and written when that works again
                if str(error) != told:
                    told = str(error)
                    _logger.warning("the status of modules cannot be written yet", reason=told)
                await asyncio.sleep(_RETRY)

    async def _flush(self) -> None:
        """Write up to 1,000 changed keys as one batch; raises LogError, and they are to be written again."""
        batch: dict[str, bytes | None] = {}
        size = 0
        while self._dirty and len(batch) < MAX_BATCH and size < _MAX_BATCH_BYTES:
            key = next(iter(self._dirty))
            batch[key] = value = self._dirty.pop(key)
            size += len(value or b"")
        if not self._dirty:
            self._wake.clear()
        try:
            messages = [self._bucket.message(key, value) for key, value in batch.items()]
            await self._bucket.stream.commit.append_batch(messages)
        except ApiError as error:
            _logger.error("the status of modules cannot be written", reason=str(error))  # noqa: TRY400 - told
        except BaseException:
            self._dirty = batch | self._dirty
            self._wake.set()
            raise
        else:
            self.written += len(batch)


_UNKNOWN = ModuleState()
