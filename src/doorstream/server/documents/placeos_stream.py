"""PlaceOS's control socket: commands, their answers, values and log lines (seed 001, vendor-apis.md 2.2)."""

from __future__ import annotations

from typing import Final

from doorstream.dialects.placeos.credentials import NOTIFY_VALUE
from doorstream.dialects.placeos.errors import Code
from doorstream.dialects.placeos.messages import MAX_ID, PING, PONG, Form, Kind
from doorstream.dialects.placeos.routes import PATH, PONG_EVERY
from doorstream.drivers.levels import LEVELS
from doorstream.server.documents.channels import WEB_SOCKET, Channel, Flow, Message
from doorstream.server.documents.notation import (
    ANY,
    INTEGER,
    TEXT,
    TEXT_PLAIN,
    Parameter,
    Schema,
    just,
    listed,
    one_of,
    record,
    ref,
)

_ID: Final[Schema] = {
    "type": ["number", "string"],
    "description": f"Comes back exactly as it was written; at most {MAX_ID} bytes",
}
_INDEX: Final = INTEGER | {"description": "Counts the modules of that name, from 1"}
_PLACE: Final = {"sys": TEXT | {"examples": ["sys-0123"]}, "mod": TEXT | {"examples": ["Door"]}, "index": _INDEX}
_TOLD: Final = one_of(sorted({*Code}))

SCHEMAS: Final[dict[str, Schema]] = {
    "PlaceMeta": record({**_PLACE, "name": TEXT}, description="What a command was about."),
    "PlaceModuleMeta": record(_PLACE, description="The module that a command was about."),
    "PlaceCode": _TOLD
    | {"description": "; ".join(f"{code.value}: {code.name.lower().replace('_', ' ')}" for code in Code)},
}
_COMMAND_PARTS: Final = {"id": _ID, **_PLACE, "name": TEXT}


def key_of(name: str) -> str:
    """What a message is called in the document."""
    return f"placeos_{name}"


def _command(kind: Kind, summary: str) -> Message:
    more: dict[str, Schema] = {"args": listed(ANY)} if kind is Kind.EXEC else {}
    payload = record({"cmd": just(kind.value)}, _COMMAND_PARTS, more, optional=("id", "index", "args"))
    return Message(key=key_of(kind.value), name=kind.value, summary=summary, payload=payload)


_COMMANDS: Final = (
    _command(Kind.BIND, "Tell the value of a status variable now, and whenever it changes"),
    _command(Kind.UNBIND, "Tell it no more"),
    _command(Kind.EXEC, "Execute a function of a module"),
    _command(Kind.DEBUG, "Tell the lines of a module's log"),
    _command(Kind.IGNORE, "Tell them no more"),
)
_META: Final = ref("PlaceMeta")
_ANSWERS: Final = (
    Message(
        key=key_of("success"),
        name="success",
        summary="The answer to bind, unbind and ignore",
        payload=record({"id": _ID, "type": just("success"), "meta": _META}, optional=("meta",)),
    ),
    Message(
        key=key_of("executed"),
        name="success of exec",
        summary="What the function returned",
        payload=record({"id": _ID, "type": just("success"), "meta": _META, "value": ANY, "code": INTEGER}),
    ),
    Message(
        key=key_of("debugging"),
        name="success of debug",
        summary="Which module's log is told",
        payload=record({"id": _ID, "type": just("success"), "mod_id": TEXT, "meta": ref("PlaceModuleMeta")}),
    ),
    Message(
        key=key_of("error"),
        name="error",
        summary="Why a command was not done",
        payload=record(
            {
                "id": _ID,
                "type": just("error"),
                "code": ref("PlaceCode"),
                "error_code": ref("PlaceCode"),
                "msg": TEXT,
                "meta": _META,
            },
            optional=("meta",),
        ),
    ),
)
_TOLD_LATER: Final = (
    Message(
        key=key_of("notify"),
        name="notify",
        summary="The value of a variable; always after the success of its bind",
        payload=record(
            {
                "id": _ID,
                "type": just("notify"),
                "value": ANY | {"description": f"The value, or with `{NOTIFY_VALUE}=string` the text of its JSON"},
                "meta": _META,
            }
        ),
    ),
    Message(
        key=key_of("log"),
        name="debug",
        summary="A line of a module's log",
        payload=record(
            {
                "id": _ID,
                "type": just("debug"),
                "mod": TEXT,
                "klass": TEXT,
                "level": one_of(LEVELS),
                "msg": TEXT,
                "meta": _META,
            }
        ),
    ),
)
_ALIVE: Final = (
    Message(key=key_of("ping"), name=PING, summary="Are you there?", payload=just(PING), media=TEXT_PLAIN),
    Message(
        key=key_of("pong"),
        name=PONG,
        summary=f"The answer to it, and every {PONG_EVERY:g} s without one",
        payload=just(PONG),
        media=TEXT_PLAIN,
    ),
)


def _flow(kind: Kind, reply: str) -> Flow:
    return Flow(
        key=f"placeos{kind.value.capitalize()}",
        action="receive",
        summary=next(each.summary for each in _COMMANDS if each.name == kind.value),
        messages=(key_of(kind.value),),
        replies=(key_of(reply), key_of("error")),
    )


PLACEOS_STREAM: Final = Channel(
    key="placeosControl",
    title="PlaceOS",
    description="JSON messages over a WebSocket. Every command is answered, in whatever order they are done.",
    address=PATH,
    server=WEB_SOCKET,
    messages=(*_COMMANDS, *_ANSWERS, *_TOLD_LATER, *_ALIVE),
    flows=(
        _flow(Kind.BIND, "success"),
        _flow(Kind.UNBIND, "success"),
        _flow(Kind.EXEC, "executed"),
        _flow(Kind.DEBUG, "debugging"),
        _flow(Kind.IGNORE, "success"),
        Flow(
            key="placeosPing",
            action="receive",
            summary="Whether the connection lives",
            messages=(key_of("ping"),),
            replies=(key_of("pong"),),
        ),
        Flow(
            key="placeosTell",
            action="send",
            summary="What was asked for with bind and debug, and signs of life",
            messages=(key_of("notify"), key_of("log"), key_of("pong")),
        ),
    ),
    query={
        "api-key": Parameter("An API key, where no header can be sent"),
        "bearer_token": Parameter("A token, where no header can be sent"),
        NOTIFY_VALUE: Parameter("How values are written", one_of(form.value for form in Form)),
    },
    security=("key", "bearer"),
)
