"""Polling payloads: several packets in the body of one HTTP request or answer.

Protocol 4 joins text packets with the character 0x1e. Protocol 3 puts each packet's length in front, counted in
characters as JavaScript counts them (UTF-16 units), or, between ends that can do binary, uses byte frames: 0 (text)
or 1 (binary), the digits of the length in bytes, 255, the packet (`vendor-apis.md` 1.2.1, fact 8).
"""

import re
from collections.abc import Iterable

from doorstream.protocols.engineio.errors import PayloadError
from doorstream.protocols.engineio.packets import V4, Packet, Version, decode_packet, encode_text_packet

SEPARATOR = "\x1e"
_LENGTH = re.compile(r"([0-9]{1,10}):")
_TEXT, _BINARY, _LENGTH_END = 0, 1, 255
_MAX_LENGTH_DIGITS = 10
_ASTRAL = re.compile("[\U00010000-\U0010ffff]")


def js_length(text: str) -> int:
    """Count UTF-16 units, which is what JavaScript calls the length of a string."""
    return len(text) if text.isascii() else len(text) + len(_ASTRAL.findall(text))


def encode_payload(packets: Iterable[Packet], version: Version) -> str:
    """Build a text payload."""
    texts = [encode_text_packet(packet, version) for packet in packets]
    if version == V4:
        return SEPARATOR.join(texts)
    return "".join(f"{js_length(text)}:{text}" for text in texts)


def encode_binary_payload(packets: Iterable[Packet]) -> bytes:
    """Build a binary payload of protocol 3."""
    parts = bytearray()
    for packet in packets:
        if isinstance(packet.data, bytes):
            kind, data = _BINARY, bytes((packet.type,)) + packet.data
        else:
            kind, data = _TEXT, f"{int(packet.type)}{packet.data}".encode()
        parts.append(kind)
        parts += bytes(int(digit) for digit in str(len(data)))
        parts.append(_LENGTH_END)
        parts += data
    return bytes(parts)


def decode_payload(body: bytes, version: Version, *, binary: bool = False) -> list[Packet]:
    """Cut a request's body into packets. `binary` is for bodies of type `application/octet-stream`.

    Raises PayloadError or PacketError; nothing of a payload that is wrong anywhere is given.
    """
    if binary:
        if version == V4:
            raise PayloadError("protocol 4 has no binary payloads")
        return _decode_binary(body)
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise PayloadError("a payload that is not UTF-8") from error
    texts = text.split(SEPARATOR) if version == V4 else _split_counted(text)
    return [decode_packet(item, version) for item in texts]


def _split_counted(text: str) -> list[str]:
    if not text:
        raise PayloadError("an empty payload")
    astral = _ASTRAL.search(text) is not None
    found: list[str] = []
    position = 0
    while position < len(text):
        match = _LENGTH.match(text, position)
        if match is None:
            raise PayloadError("a packet without its length")
        start = match.end()
        length = int(match[1])
        end = _after_units(text, start, length) if astral else start + length
        if end > len(text):
            raise PayloadError("a packet shorter than its length")
        found.append(text[start:end])
        position = end
    return found


def _after_units(text: str, start: int, units: int) -> int:
    """Give the position that many UTF-16 units after `start`."""
    position = start
    while units > 0:
        # At least half of the units still needed are characters, so jump there and count what they were worth.
        step = max(1, units // 2)
        if position + step > len(text):
            return len(text) + 1
        units -= js_length(text[position : position + step])
        position += step
    if units < 0:
        raise PayloadError("a length that cuts a character in two")
    return position


def _decode_binary(body: bytes) -> list[Packet]:
    if not body:
        raise PayloadError("an empty payload")
    packets: list[Packet] = []
    position = 0
    while position < len(body):
        kind = body[position]
        end = body.find(_LENGTH_END, position + 1, position + 2 + _MAX_LENGTH_DIGITS)
        digits = body[position + 1 : end]
        if kind > _BINARY or end < 0 or not digits or max(digits) > 9:  # noqa: PLR2004 - the largest digit
            raise PayloadError("a packet without its length")
        length = int("".join(map(str, digits)))
        data = body[end + 1 : end + 1 + length]
        if len(data) < length:
            raise PayloadError("a packet shorter than its length")
        if kind == _BINARY:
            packets.append(decode_packet(data, 3))
        else:
            try:
                packets.append(decode_packet(data.decode(), 3))
            except UnicodeDecodeError as error:
                raise PayloadError("a packet that is not UTF-8") from error
        position = end + 1 + length
    return packets
