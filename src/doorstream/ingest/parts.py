"""Taking a body apart: an array into its members, a stream into its lines. Nothing is judged here."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterable, Iterator

import msgspec

from doorstream.events import InvalidEvent
from doorstream.events.draft import MAX_EVENT_BYTES, Draft

_SPACE = re.compile(r"[ \t\r\n]*")
_scan = json.JSONDecoder(strict=False).raw_decode
_decode_drafts = msgspec.json.Decoder(list[Draft]).decode


def members_of(data: bytes) -> Iterable[Draft | bytes]:
    """The members of a JSON array of events: decoded, or as texts where one of them is none.

    Raises InvalidEvent when the text is no array.
    """
    try:
        return _decode_drafts(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _texts_of(data)


def _texts_of(data: bytes) -> Iterator[bytes]:
    """The members one by one: an array of a million nothings never becomes a million objects."""
    try:
        text = data.decode()
        at = _after_space(text, 0)
        if text[at : at + 1] != "[":
            raise InvalidEvent("an array of events is wanted")
        at = _after_space(text, at + 1)
        is_first = True
        while text[at : at + 1] != "]":
            if not is_first:
                at = _after_space(text, at + 1) if text[at : at + 1] == "," else len(text)
            is_first = False
            _, end = _scan(text, at)
            yield text[at:end].encode()
            at = _after_space(text, end)
    except (ValueError, RecursionError) as error:
        raise InvalidEvent(f"the array is malformed: {error}") from None
    if _after_space(text, at + 1) < len(text):
        raise InvalidEvent("the array is malformed: something follows it")


def _after_space(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    return at if space is None else space.end()


async def lines_of(body: AsyncIterator[bytes]) -> AsyncIterator[tuple[int, bytes | None]]:
    """The numbered lines of a stream; None for one that is too long to be an event. Keeps at most one line."""
    number = 1
    rest = bytearray()
    too_long = False
    async for chunk in body:
        start = 0
        while (end := chunk.find(b"\n", start)) >= 0:
            rest += chunk[start:end]
            yield number, None if too_long or len(rest) > MAX_EVENT_BYTES else bytes(rest)
            number += 1
            rest.clear()
            too_long = False
            start = end + 1
        rest += chunk[start:]
        if len(rest) > MAX_EVENT_BYTES:
            too_long = True
            rest.clear()
    if rest or too_long:
        yield number, None if too_long else bytes(rest)
