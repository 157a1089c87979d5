"""What goes over the control socket: commands in, answers and notifications out (seed 001; vendor-apis.md 2.2).

Everything that comes is answered (D5), so reading is lenient: ids of any text or number, ``index`` missing or null,
members that nobody knows. An id is repeated exactly as it was written.
"""

from __future__ import annotations

import enum
from typing import Any, NamedTuple

import msgspec

from doorstream.dialects.placeos.errors import Code

PING = "ping"
PONG = "pong"

MAX_ID = 256
"""Bytes of the longest id that is taken: it is kept for as long as a binding."""

MAX_NAME = 256
"""Characters of the longest system, module or name that is taken: they are kept as long."""

_MAX_INDEX = 2**31 - 1
_NO_ID = b"0"

_encode = msgspec.json.Encoder().encode


class Kind(enum.StrEnum):
    """The five commands."""

    BIND = "bind"
    UNBIND = "unbind"
    EXEC = "exec"
    DEBUG = "debug"
    IGNORE = "ignore"


_KINDS = {kind.value: kind for kind in Kind}


class Form(enum.StrEnum):
    """How ``notify.value`` is written (D4): the seed's string that holds JSON, or the vendor's raw JSON."""

    STRING = "string"
    JSON = "json"


class Address(NamedTuple):
    """What a command is about, as the client wrote it; ``ordinal`` is its index, which counts from 1."""

    sys: str
    mod: str
    ordinal: int
    name: str

    @property
    def json(self) -> bytes:
        """The ``meta`` of answers."""
        return _encode({"sys": self.sys, "mod": self.mod, "index": self.ordinal, "name": self.name})

    @property
    def module_json(self) -> bytes:
        """The ``meta`` of the answer to ``debug``, which has no name (seed 001)."""
        return _encode({"sys": self.sys, "mod": self.mod, "index": self.ordinal})


class Request(NamedTuple):
    """A command that can be read. ``id`` is its JSON."""

    id: bytes
    kind: Kind
    address: Address
    args: list[Any]


class BadMessage(Exception):
    """A message that cannot be understood; ``id`` is the JSON of its id where that was readable, else 0."""

    def __init__(self, code: Code, message: str, request_id: bytes = _NO_ID) -> None:
        super().__init__(message)
        self.code = code
        self.id = request_id


class _Wire(msgspec.Struct):
    """A command with nothing wrong; ``cmd`` may be unknown."""

    cmd: str
    sys: str
    mod: str
    name: str
    id: msgspec.Raw = msgspec.Raw(_NO_ID)
    index: int | None = None
    args: list[Any] | None = None


_decode = msgspec.json.Decoder(_Wire).decode
_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_any = msgspec.json.Decoder().decode


def parse(data: str | bytes) -> Request:
    """Read a command; raises BadMessage."""
    try:
        wire = _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _fault(data) from None
    request_id = _id(wire.id)
    kind = _KINDS.get(wire.cmd)
    if kind is None:
        raise _unknown(request_id)
    index = 1 if wire.index is None else wire.index
    if not -_MAX_INDEX <= index <= _MAX_INDEX:
        raise BadMessage(Code.BAD_REQUEST, "index must be an integer of 32 bits", request_id)
    if max(len(wire.sys), len(wire.mod), len(wire.name)) > MAX_NAME:
        raise BadMessage(Code.BAD_REQUEST, f"sys, mod and name have at most {MAX_NAME} characters", request_id)
    return Request(request_id, kind, Address(wire.sys, wire.mod, index, wire.name), wire.args or [])


def _fault(data: str | bytes) -> BadMessage:
    """Why a message is no command."""
    try:
        values = _decode_any(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return BadMessage(Code.PARSE_ERROR, "not valid JSON")
    if not isinstance(values, dict):
        return BadMessage(Code.BAD_REQUEST, "a command is a JSON object")
    try:
        request_id = _id(_decode_members(data).get("id", msgspec.Raw(_NO_ID)))
    except BadMessage as bad:
        return bad
    command = values.get("cmd")
    if isinstance(command, str) and command not in _KINDS:
        return _unknown(request_id)
    for name in ("cmd", "sys", "mod", "name"):
        if not isinstance(values.get(name), str):
            return BadMessage(Code.BAD_REQUEST, f"{name} is missing or no string", request_id)
    is_index = values.get("index") is None or type(values["index"]) is int
    what = "args must be an array" if is_index else "index must be an integer of 32 bits"
    return BadMessage(Code.BAD_REQUEST, what, request_id)


def _unknown(request_id: bytes) -> BadMessage:
    return BadMessage(Code.UNKNOWN_COMMAND, f"unknown command: it is one of {', '.join(Kind)}", request_id)


def _id(raw: msgspec.Raw) -> bytes:
    text = bytes(raw)
    if text == b"null":
        return _NO_ID
    if text[:1] not in b'"-0123456789' or len(text) > MAX_ID:
        raise BadMessage(Code.BAD_REQUEST, f"id must be a number or a string of at most {MAX_ID} bytes")
    return text


def success(request_id: bytes, meta: bytes | None = None) -> bytes:
    """The answer to ``bind``, ``unbind`` and, without meta, ``ignore``."""
    if meta is None:
        return b'{"id":%b,"type":"success"}' % request_id
    return b'{"id":%b,"type":"success","meta":%b}' % (request_id, meta)


def executed(request_id: bytes, meta: bytes, value: bytes, code: int = 200) -> bytes:
    """The answer to ``exec``; the value is JSON, ``null`` included (D5)."""
    return b'{"id":%b,"type":"success","meta":%b,"value":%b,"code":%d}' % (request_id, meta, value, code)


def debugging(request_id: bytes, module_id: str, meta: bytes) -> bytes:
    """The answer to ``debug``."""
    return b'{"id":%b,"type":"success","mod_id":%b,"meta":%b}' % (request_id, _encode(module_id), meta)


def failure(request_id: bytes, code: Code, message: str, meta: bytes | None = None) -> bytes:
    """The answer to a command that is refused or failed: the seed's number twice, under both names (D5)."""
    tail = b',"meta":%b' % meta if meta is not None else b""
    parts = (request_id, code, code, _encode(message), tail)
    return b'{"id":%b,"type":"error","code":%d,"error_code":%d,"msg":%b%b}' % parts


class Notify:
    """The frame around a value, made once for all clients with the same bind id, address and form."""

    __slots__ = ("form", "head", "size", "tail")

    def __init__(self, request_id: bytes, address: Address, form: Form) -> None:
        self.form = form
        self.head = b'{"id":%b,"type":"notify","value":' % request_id
        self.tail = b',"meta":%b}' % address.json
        self.size = len(self.head) + len(self.tail)

    def encode(self, value: Value) -> bytes:
        """The notification of a value."""
        return b"".join((self.head, value.written(self.form), self.tail))


class Value:
    """A status variable's value: its JSON, and the JSON as a string, made when it is first asked for."""

    __slots__ = ("_string", "json")

    def __init__(self, json: bytes) -> None:
        self.json = json
        self._string: bytes | None = None

    def written(self, form: Form) -> bytes:
        """What stands after ``"value":``."""
        if form is Form.JSON:
            return self.json
        if self._string is None:
            self._string = _encode(self.json.decode())
        return self._string


class Log:
    """The frame around the lines of a module's log, for one ``debug``."""

    __slots__ = ("_head", "_tail")

    def __init__(self, request_id: bytes, module_id: str, address: Address) -> None:
        self._head = b'{"id":%b,"type":"debug","mod":%b' % (request_id, _encode(module_id))
        self._tail = b',"meta":%b}' % address.json

    def encode(self, level: str, message: str, klass: str) -> bytes:
        """One line."""
        line = b',"klass":%b,"level":%b,"msg":%b' % (_encode(klass), _encode(level), _encode(message))
        return b"".join((self._head, line, self._tail))
