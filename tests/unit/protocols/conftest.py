"""What the protocol tests share."""

from collections.abc import Callable

import pytest

from doorstream.protocols.websocket import encode_frame, unmask

MASK = b"\x37\xfa\x21\x3d"

ClientFrame = Callable[..., bytes]


@pytest.fixture(scope="session")
def client_frame() -> ClientFrame:
    """Build frames as a client sends them: masked, and wrong in chosen ways."""

    def build(opcode: int, payload: bytes = b"", *, fin: bool = True, reserved: int = 0) -> bytes:
        plain = encode_frame(opcode, payload, fin=fin)
        header = bytearray(plain[: len(plain) - len(payload)])
        header[0] |= reserved
        header[1] |= 0x80
        return bytes(header) + MASK + unmask(payload, MASK)

    return build
