"""Long-polling as a transport: an outbox, and at most one poll that waits for it.

What is written between two polls waits here, bounded like the buffer of a WebSocket. The HTTP side is in
`polling_http`.
"""

import asyncio
from collections.abc import Awaitable, Callable

from doorstream.gateway.contract import Limits
from doorstream.gateway.framing import Framing, engine_polling_v3, engine_polling_v4, polling_item
from doorstream.protocols.engineio import Packet, PacketType, decode_payload, encode_binary_payload
from doorstream.protocols.engineio.packets import V4, Version, encode_text_packet

_TEXT = b"text/plain; charset=UTF-8"
_BINARY = b"application/octet-stream"
_HINT_OF_BINARY = b":b4"


class Polling:
    """The polling transport of one session.

    `overflowed` is called from the event loop when more than `max_unsent` bytes wait while not `replaying`.
    `base64` is for clients of version 3 that cannot read binary payloads.
    """

    __slots__ = (
        "_base64",
        "_outbox",
        "_poll",
        "_size",
        "_waiter",
        "framing",
        "full_at",
        "limits",
        "overflowed",
        "posting",
        "replaying",
        "throttled",
        "version",
    )

    def __init__(self, version: Version, limits: Limits, *, base64: bool) -> None:
        self.version: Version = version
        self.limits = limits
        self.framing: Framing = engine_polling_v4 if version == V4 else engine_polling_v3
        self.overflowed: Callable[[], None] = _nobody
        self.replaying = False
        self.throttled = False
        self.posting = False
        self.full_at = 0.0
        """State of the inbound rate, see `Rate`."""
        self._base64 = base64
        self._outbox: list[bytes] = []
        self._size = 0
        self._poll: asyncio.Future[None] | None = None
        self._waiter: asyncio.Future[None] | None = None

    def write(self, framed: bytes) -> None:
        """Put bytes made by `framing` into the outbox, and answer the waiting poll."""
        self._outbox.append(framed)
        self._size += len(framed)
        if self._poll is not None:
            if not self._poll.done():
                self._poll.set_result(None)
        elif self._size > self.limits.max_unsent and not self.replaying:
            asyncio.get_running_loop().call_soon(self._check_size)

    def send_packet(self, packet: Packet) -> None:
        """Put a packet of any type into the outbox."""
        self.write(polling_item(encode_text_packet(packet, self.version).encode(), self.version))

    @property
    def is_drained(self) -> bool:
        """Whether so little lies here that `drained()` would return at once."""
        return self._size <= self.limits.drain_below

    @property
    def unsent(self) -> int:
        """Bytes that wait for the client's next poll."""
        return self._size

    async def drained(self) -> None:
        """Return when the outbox is below the low-water mark, or the transport is no longer in use."""
        if not self.is_drained:
            if self._waiter is None:
                self._waiter = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._waiter)

    @property
    def polled(self) -> bool:
        """Whether a poll waits."""
        return self._poll is not None

    async def ready(self, gone: Callable[[], Awaitable[None]]) -> bool:
        """Wait, for the one poll, until there is something to take; False if the client went away first."""
        if self._outbox:
            return True
        poll = self._poll = asyncio.get_running_loop().create_future()
        leaving = asyncio.ensure_future(gone())
        try:
            await asyncio.wait((poll, leaving), return_when=asyncio.FIRST_COMPLETED)
            return not leaving.done()
        finally:
            leaving.cancel()
            self._poll = None

    def take(self) -> tuple[bytes, bytes]:
        """Empty the outbox into the body of an answer, and give that and its content type."""
        framed = b"".join(self._outbox)
        self._empty()
        if self.version == V4:
            return framed[1:], _TEXT
        if not self._base64 and _HINT_OF_BINARY in framed:
            packets = decode_payload(framed, self.version)
            if any(isinstance(packet.data, bytes) for packet in packets):
                return encode_binary_payload(packets), _BINARY
        return framed, _TEXT

    def release(self) -> None:
        """Answer a waiting poll although there is nothing for it."""
        if self._poll is not None and not self._outbox:
            self.send_packet(Packet(PacketType.NOOP))

    def hurry(self) -> None:
        """Let the next poll end at once, although there may be nothing for it."""
        if not self._outbox:
            self.send_packet(Packet(PacketType.NOOP))

    def retire(self) -> list[Packet]:
        """Stop being the transport: answer a waiting poll, and give back what was not delivered."""
        packets: list[Packet] = []
        if self._outbox:  # perhaps for a poll that is about to be answered, or about to find its client gone
            framed = b"".join(self._outbox)
            packets = decode_payload(framed[1:] if self.version == V4 else framed, self.version)
            self._empty()
        self.release()
        return [packet for packet in packets if packet.type is not PacketType.NOOP]

    def end(self, last: Packet) -> bool:
        """Answer a waiting poll with what there is and a last packet. True if none waits, so that it lies here."""
        self.send_packet(last)
        self.overflowed = _nobody
        if self._waiter is not None:
            self._waiter.set_result(None)
            self._waiter = None
        return self._poll is None

    def _empty(self) -> None:
        self._outbox.clear()
        self._size = 0
        if self._waiter is not None:
            self._waiter.set_result(None)
            self._waiter = None

    def _check_size(self) -> None:
        if self._size > self.limits.max_unsent:
            self.overflowed()


def _nobody() -> None:
    """Stand in until a session has taken the transport."""
