"""One open WebSocket, section by section of RFC 6455."""

import pytest

from doorstream.protocols.websocket import Closed, Event, Message, Opcode, Reply, State, WebSocketProtocol, encode_close

TEXT, BINARY, CONTINUATION = Opcode.TEXT, Opcode.BINARY, Opcode.CONTINUATION


def failure(events: list[Event]) -> int:
    """Give the code with which events end a connection, and check that a close frame goes with it."""
    assert len(events) >= 2
    reply, closed = events[-2:]
    assert isinstance(closed, Closed)
    assert closed.failed
    assert reply == Reply(encode_close(closed.code, closed.reason))
    return closed.code


def messages(events: list[Event]) -> list[str | bytes]:
    """Give the messages among events."""
    return [event.data for event in events if isinstance(event, Message)]


# 5.2 and 5.3: header, mask


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 128, 65535, 65536, 99_999])
def test_messages_of_every_length_form(client_frame, size: int) -> None:
    protocol = WebSocketProtocol()
    assert messages(protocol.receive(client_frame(BINARY, b"\xfe" * size))) == [b"\xfe" * size]
    assert messages(protocol.receive(client_frame(TEXT, b"*" * size))) == ["*" * size]


@pytest.mark.parametrize("bits", [0x40, 0x20, 0x10, 0x70])
@pytest.mark.parametrize("opcode", [TEXT, Opcode.PING, Opcode.CLOSE])
def test_reserved_bits_fail(client_frame, bits: int, opcode: int) -> None:
    assert failure(WebSocketProtocol().receive(client_frame(opcode, reserved=bits))) == 1002


@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
def test_reserved_opcodes_fail(client_frame, opcode: int) -> None:
    assert failure(WebSocketProtocol().receive(client_frame(opcode, b"x"))) == 1002


def test_an_unmasked_frame_fails() -> None:
    """5.1: a server closes upon a frame that is not masked."""
    assert failure(WebSocketProtocol().receive(b"\x81\x05Hello")) == 1002


def test_a_wrong_header_fails_before_the_payload_comes() -> None:
    assert failure(WebSocketProtocol().receive(b"\x83\x80")) == 1002


# 5.4: fragments


def test_fragments_are_joined(client_frame) -> None:
    protocol = WebSocketProtocol()
    assert protocol.receive(client_frame(TEXT, b"Hel", fin=False)) == []
    assert protocol.receive(client_frame(CONTINUATION, b"", fin=False)) == []
    assert protocol.receive(client_frame(CONTINUATION, b"lo")) == [Message("Hello")]


def test_a_control_frame_between_fragments_is_answered_in_its_place(client_frame) -> None:
    """5.4: control frames may be injected; the pong goes out before what the message leads to."""
    data = (
        client_frame(TEXT, b"a", fin=False)
        + client_frame(Opcode.PING, b"!")
        + client_frame(CONTINUATION, b"b")
        + client_frame(Opcode.PING, b"?")
    )
    assert WebSocketProtocol().receive(data) == [Reply(b"\x8a\x01!"), Message("ab"), Reply(b"\x8a\x01?")]


@pytest.mark.parametrize("fin", [True, False])
def test_a_continuation_of_nothing_fails(client_frame, fin: bool) -> None:
    assert failure(WebSocketProtocol().receive(client_frame(CONTINUATION, b"x", fin=fin))) == 1002


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_a_new_message_inside_a_fragmented_one_fails(client_frame, opcode: int) -> None:
    protocol = WebSocketProtocol()
    protocol.receive(client_frame(TEXT, b"x", fin=False))
    assert failure(protocol.receive(client_frame(opcode, b"y"))) == 1002


def test_a_continuation_after_the_message_ended_fails(client_frame) -> None:
    protocol = WebSocketProtocol()
    protocol.receive(client_frame(TEXT, b"x", fin=False) + client_frame(CONTINUATION, b"y"))
    assert failure(protocol.receive(client_frame(CONTINUATION, b"z"))) == 1002


def test_a_message_may_come_in_very_many_fragments(client_frame) -> None:
    protocol = WebSocketProtocol()
    events = protocol.receive(
        client_frame(BINARY, b"0", fin=False)
        + client_frame(CONTINUATION, b"1", fin=False) * 50_000
        + client_frame(CONTINUATION, b"2")
    )
    assert events == [Message(b"0" + b"1" * 50_000 + b"2")]


# 5.5: control frames


@pytest.mark.parametrize("payload", [b"", b"Hello", b"\x00\xff\xfe\xfd", b"*" * 125])
def test_a_ping_is_answered_with_its_payload(client_frame, payload: bytes) -> None:
    assert WebSocketProtocol().receive(client_frame(Opcode.PING, payload)) == [
        Reply(bytes((0x8A, len(payload))) + payload)
    ]


def test_ten_pings_are_answered_in_order(client_frame) -> None:
    events = WebSocketProtocol().receive(b"".join(client_frame(Opcode.PING, b"%d" % n) for n in range(10)))
    assert events == [Reply(b"\x8a\x01%d" % n) for n in range(10)]


def test_an_unsolicited_pong_is_ignored(client_frame) -> None:
    assert WebSocketProtocol().receive(client_frame(Opcode.PONG, b"x")) == []


@pytest.mark.parametrize("opcode", [Opcode.PING, Opcode.PONG, Opcode.CLOSE])
def test_long_or_fragmented_control_frames_fail(client_frame, opcode: int) -> None:
    assert failure(WebSocketProtocol().receive(client_frame(opcode, b"*" * 126))) == 1002
    assert failure(WebSocketProtocol().receive(client_frame(opcode, b"x", fin=False))) == 1002


# 5.5.1 and 7: closing


@pytest.mark.parametrize(
    "code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999]
)
def test_a_close_is_echoed_with_its_code(client_frame, code: int) -> None:
    protocol = WebSocketProtocol()
    events = protocol.receive(client_frame(Opcode.CLOSE, code.to_bytes(2, "big") + "Grüße".encode()))
    assert events == [Reply(encode_close(code)), Closed(code, "Grüße")]
    assert protocol.state is State.CLOSED


def test_an_empty_close_is_answered_empty(client_frame) -> None:
    assert WebSocketProtocol().receive(client_frame(Opcode.CLOSE)) == [Reply(b"\x88\x00"), Closed(1005)]


@pytest.mark.parametrize("code", [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535])
def test_close_codes_that_must_not_be_sent_fail(client_frame, code: int) -> None:
    assert failure(WebSocketProtocol().receive(client_frame(Opcode.CLOSE, code.to_bytes(2, "big")))) == 1002


def test_a_close_with_half_a_code_fails(client_frame) -> None:
    assert failure(WebSocketProtocol().receive(client_frame(Opcode.CLOSE, b"\x03"))) == 1002


def test_a_close_reason_that_is_not_utf8_fails(client_frame) -> None:
    assert failure(WebSocketProtocol().receive(client_frame(Opcode.CLOSE, b"\x03\xe8\xce\xba\xe1\xbd"))) == 1007


def test_a_close_between_fragments_ends_the_connection(client_frame) -> None:
    protocol = WebSocketProtocol()
    events = protocol.receive(client_frame(TEXT, b"x", fin=False) + client_frame(Opcode.CLOSE, b"\x03\xe8"))
    assert events[-1] == Closed(1000)


def test_nothing_after_a_close_is_read(client_frame) -> None:
    protocol = WebSocketProtocol()
    events = protocol.receive(
        client_frame(TEXT, b"before") + client_frame(Opcode.CLOSE) + client_frame(TEXT, b"after") + b"\xff" * 100
    )
    assert events == [Message("before"), Reply(b"\x88\x00"), Closed(1005)]
    assert protocol.receive(client_frame(Opcode.PING)) == []
    assert protocol.buffered == 0


def test_our_close_is_sent_once_and_later_messages_are_dropped(client_frame) -> None:
    protocol = WebSocketProtocol()
    assert protocol.close(4001, "x") == encode_close(4001, "x")
    assert protocol.state is State.CLOSING
    assert protocol.close(1000) == b""
    assert protocol.receive(client_frame(TEXT, b"late") + client_frame(Opcode.PING)) == []
    assert protocol.receive(client_frame(Opcode.CLOSE, (4001).to_bytes(2, "big"))) == [Closed(4001)]
    assert protocol.state is State.CLOSED


def test_a_failure_while_closing_sends_no_second_close(client_frame) -> None:
    protocol = WebSocketProtocol()
    protocol.close()
    assert protocol.receive(client_frame(3)) == [Closed(1002, "reserved opcode", failed=True)]


def test_a_failed_connection_ignores_everything(client_frame) -> None:
    protocol = WebSocketProtocol()
    failure(protocol.receive(b"\xff\xff"))
    assert protocol.receive(client_frame(TEXT, b"x")) == []
    assert protocol.close() == b""


# 8: UTF-8

VALID = [
    "κόσμε",
    "\x00",
    "\x7f",
    "\x80",
    "\u07ff",
    "\u0800",
    "\ud7ff",
    "\ue000",
    "\ufffd",
    "\uffff",
    "\U00010000",
    "\U0010ffff",
]
INVALID = [
    b"\x80",
    b"\xbf",
    b"\xc0\xaf",
    b"\xe0\x80\xaf",
    b"\xf0\x80\x80\xaf",
    b"\xed\xa0\x80",
    b"\xed\xbf\xbf",
    b"\xed\xa0\x80\xed\xb0\x80",
    b"\xf4\x90\x80\x80",
    b"\xf8\x88\x80\x80\x80",
    b"\xfe",
    b"\xff",
    b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
    b"\xce",
    b"\xe1\xbd",
    b"\xf0\x90\x80",
]


@pytest.mark.parametrize("text", VALID)
def test_valid_text_in_one_and_in_one_byte_fragments(client_frame, text: str) -> None:
    data = text.encode()
    protocol = WebSocketProtocol()
    assert protocol.receive(client_frame(TEXT, data)) == [Message(text)]
    frames = client_frame(TEXT, b"", fin=False)
    frames += b"".join(client_frame(CONTINUATION, data[n : n + 1], fin=False) for n in range(len(data)))
    assert protocol.receive(frames + client_frame(CONTINUATION)) == [Message(text)]


@pytest.mark.parametrize("data", INVALID)
def test_invalid_text_fails(client_frame, data: bytes) -> None:
    assert failure(WebSocketProtocol().receive(client_frame(TEXT, data))) == 1007
    frames = client_frame(TEXT, data[:1], fin=False) + client_frame(CONTINUATION, data[1:])
    assert failure(WebSocketProtocol().receive(frames)) == 1007


def test_invalid_text_fails_at_the_first_wrong_fragment(client_frame) -> None:
    """The rest of the message need not come."""
    protocol = WebSocketProtocol()
    assert protocol.receive(client_frame(TEXT, b"\xce\xba\xe1\xbd\xb9\xcf\x83\xf4", fin=False)) == []
    assert failure(protocol.receive(client_frame(CONTINUATION, b"\x90", fin=False))) == 1007


def test_invalid_text_fails_at_the_first_wrong_byte_of_an_unfinished_frame(client_frame) -> None:
    frame = client_frame(TEXT, b"good \xf4\x90 more to come")
    protocol = WebSocketProtocol()
    assert protocol.receive(frame[:12]) == []
    assert failure(protocol.receive(frame[12:13])) == 1007


def test_text_cut_inside_a_character_fails_only_at_its_end(client_frame) -> None:
    protocol = WebSocketProtocol()
    assert protocol.receive(client_frame(TEXT, b"\xe1\xbd", fin=False)) == []
    assert failure(protocol.receive(client_frame(CONTINUATION))) == 1007


def test_a_new_text_message_does_not_continue_an_old_character(client_frame) -> None:
    protocol = WebSocketProtocol()
    protocol.receive(client_frame(TEXT, "é".encode()[:1], fin=False) + client_frame(CONTINUATION, "é".encode()[1:]))
    assert protocol.receive(client_frame(TEXT, b"x", fin=False) + client_frame(CONTINUATION, b"y")) == [Message("xy")]


def test_binary_is_not_checked(client_frame) -> None:
    assert WebSocketProtocol().receive(client_frame(BINARY, b"\xff\xfe")) == [Message(b"\xff\xfe")]


# Sizes


def test_a_message_of_the_limit_passes_and_one_more_byte_fails_at_its_header(client_frame) -> None:
    protocol = WebSocketProtocol(max_payload=1000)
    assert messages(protocol.receive(client_frame(BINARY, bytes(1000)))) == [bytes(1000)]
    assert failure(protocol.receive(client_frame(BINARY, bytes(1001))[:4])) == 1009
    assert protocol.buffered == 0


def test_the_limit_counts_all_fragments(client_frame) -> None:
    protocol = WebSocketProtocol(max_payload=1000)
    protocol.receive(client_frame(BINARY, bytes(600), fin=False))
    assert protocol.receive(client_frame(Opcode.PING, bytes(125)))
    assert failure(protocol.receive(client_frame(CONTINUATION, bytes(401), fin=False)[:4])) == 1009


def test_a_claimed_length_of_eight_bytes_is_refused_at_once() -> None:
    assert failure(WebSocketProtocol().receive(b"\x82\xff" + b"\xff" * 8)) == 1009


# Slices and memory


def test_a_limit_leaves_the_rest_for_the_next_call(client_frame) -> None:
    protocol = WebSocketProtocol()
    data = b"".join(client_frame(TEXT, b"%d" % n) for n in range(5))
    assert messages(protocol.receive(data, limit=2)) == ["0", "1"]
    assert protocol.buffered > 0
    assert protocol.receive(b"", limit=0) == []
    assert messages(protocol.receive(b"", limit=2)) == ["2", "3"]
    assert messages(protocol.receive(client_frame(TEXT, b"5"))) == ["4", "5"]
    assert protocol.frames_received == 6


def test_an_idle_connection_keeps_no_buffer(client_frame) -> None:
    protocol = WebSocketProtocol()
    protocol.receive(client_frame(TEXT, b"x" * 50_000, fin=False) + client_frame(CONTINUATION, b"y"))
    assert (protocol._buffer, protocol._message, protocol._decoder, protocol._mask) == (b"", None, None, None)
    assert not hasattr(protocol, "__dict__")
