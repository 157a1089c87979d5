"""Writes what can be written from the code: the documents below ``docs/api`` and the tables below ``docs/reference``.

``make api`` runs it. Tests compare what it would write with what is there, so that neither can be forgotten. The
documents are snapshots: the next release is compared with them, and a change of theirs is seen in a diff.
"""  # noqa: INP001 - a script beside the texts that it writes

from __future__ import annotations

import ast
import asyncio
import contextlib
import json
import re
import sys
import tempfile
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from doorstream.cli.main import app as cli
from doorstream.dialects.pdk.messages import AUDITABLE
from doorstream.dialects.pdk.webhooks import TOPICS as PDK_WEBHOOK_TOPICS
from doorstream.dialects.placeos.errors import Code as PlaceCode
from doorstream.dialects.salto.errors import BAD_FILTER, OTHER
from doorstream.dialects.salto.errors import CODES as SALTO_BY_STATUS
from doorstream.dialects.salto.messages import KINDS
from doorstream.dialects.salto.session import NOT_PERMITTED, POSITION_GONE, TOKEN_EXPIRED
from doorstream.directory.scopes import SCOPES
from doorstream.events import CATALOGUE
from doorstream.events.unlocks import UNLOCK_TOPICS
from doorstream.gateway import Gateway
from doorstream.gateway.engine_socket import CloseReason, Fault
from doorstream.log.embedded import EmbeddedServer, lock_data_directory
from doorstream.protocols.websocket import CloseCode
from doorstream.server.api.problems import CODES, TYPE
from doorstream.server.app import compose
from doorstream.server.documents.asyncapi import asyncapi_document
from doorstream.server.metrics import METRICS
from doorstream.server.services import Services
from doorstream.server.settings import Settings

DOCS: Final = Path(__file__).parent
SOURCE: Final = DOCS.parent / "src" / "doorstream"

_VERSION: Final = "snapshot"  # the version changes with every release, and is no difference
_NOTE: Final = "<!-- Written by docs/generate.py from the code; `make api` writes it anew. -->"

_CLOSE_CODES: Final[dict[CloseCode, str]] = {
    CloseCode.NORMAL: "Done: nothing is wrong.",
    CloseCode.GOING_AWAY: "The other end is going away.",
    CloseCode.PROTOCOL_ERROR: "Frames or messages that the protocol forbids.",
    CloseCode.INVALID_DATA: "A text that is not UTF-8.",
    CloseCode.POLICY_VIOLATION: "The credential is no longer valid, or the client did what no client should.",
    CloseCode.MESSAGE_TOO_BIG: "A message larger than `max-message`.",
    CloseCode.INTERNAL_ERROR: "The server failed; its log says why.",
    CloseCode.SERVICE_RESTART: "The server restarts: come back at once.",
    CloseCode.TRY_AGAIN_LATER: "The client reads more slowly than it is sent to: come back, and go on where it was.",
}
_NEVER_SENT: Final = {CloseCode.NO_STATUS, CloseCode.ABNORMAL}  # RFC 6455, 7.4.1: these stand for no code at all

_SALTO_STATUSES: Final[dict[int, str]] = {
    400: "The request cannot be understood.",
    401: "The token is missing, invalid or expired.",
    403: "Not for this caller.",
}


@contextlib.asynccontextmanager
async def services() -> AsyncIterator[Services]:
    """A worker of a new server, for as long as it takes to look at what it serves."""
    with tempfile.TemporaryDirectory(prefix="doorstream-") as name:
        directory = Path(name)
        server = EmbeddedServer(directory, await lock_data_directory(directory))
        await server.start()
        try:
            async with Services.open(Settings(data_dir=directory), server.url, Gateway()) as opened:
                yield opened
        finally:
            await server.stop()


def generate(openapi: dict[str, Any]) -> dict[str, str]:
    """Every file that can be generated, by its path below this folder."""
    return {
        "api/openapi.json": _json(openapi | {"info": openapi["info"] | {"version": _VERSION}}),
        "api/asyncapi.json": _json(asyncapi_document(_VERSION)),
        **reference(),
    }


def reference() -> dict[str, str]:
    """The tables, by their paths below this folder."""
    return {
        "reference/commands.md": _commands(),
        "reference/errors.md": _errors(),
        "reference/metrics.md": _metrics(),
        "reference/scopes.md": _scopes(),
        "reference/topics.md": _topics(),
    }


def _json(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _page(title: str, *parts: str) -> str:
    return "\n\n".join((f"# {title}", _NOTE, *(part.strip("\n") for part in parts))) + "\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def _commands() -> str:
    text = re.sub("(?<!`)``(?!`)", "`", cli.generate_docs(output_format="markdown"))
    body = text.partition("\n")[2]  # its first line is a title
    lines = (line.rstrip() for line in body.splitlines())
    return _page("Commands", "\n".join(lines))


def _metrics() -> str:
    rows = [
        (f"`{each.name}{'_total' if each.kind == 'counter' else ''}`", each.kind, _codes(each.labels), each.text)
        for each in METRICS
    ]
    return _page(
        "Metrics",
        "`/metrics` has them in the text form of Prometheus, each with the label `worker` beside its own, and those of "
        "the process (`process_…`, `python_info`). `deploy/grafana/doorstream.json` is a board that shows them.",
        _table(("metric", "kind", "labels", "what it says"), rows),
    )


def _scopes() -> str:
    rows = [(f"`{scope}`", text) for scope, text in SCOPES.items()]
    return _page("Scopes", "What a client may do, within its sites.", _table(("scope", "allows to"), rows))


def _topics() -> str:
    rows = []
    for topic in CATALOGUE.values():
        body = _codes(topic.body.__struct_fields__) if topic.body is not None else "free"
        kind = KINDS.get(topic.name)
        shown = (
            "yes" if topic.streamed else "",
            "yes" if topic.name in AUDITABLE else "",
            "yes" if topic.name in PDK_WEBHOOK_TOPICS else "",
            f"{kind.hub}: {kind.category}" if kind is not None else "",
            "yes" if topic.name in UNLOCK_TOPICS else "",
        )
        rows.append((f"`{topic.name}`", body, *shown))
    head = ("topic", "keys of its body", "PDK's stream", "`liveEvent`", "PDK's webhooks", "Salto KS", "Parakey")
    return _page(
        "Topics",
        "Every name under which an event can be kept. Beside them there is `x.<name>…` for drivers of your own, with a "
        "free body: up to eight parts of lower-case letters, digits, `_` and `-`. Server-sent events and webhooks of "
        "the forms `native` and `cloudevents` carry all of them.",
        "`device.input.relay.on` counts for `liveEvent`, Salto KS and Parakey only where a command caused it.",
        _table(head, rows),
    )


def _errors() -> str:
    problems = [(f"`{TYPE}{slug}`", str(code.status), code.title) for slug, code in CODES.items()]
    parakey = sorted({(code, status) for code, status in _parakey_codes()})
    items = sorted({(code,) for code in _first_texts(SOURCE / "dialects" / "parakey", "_Failed")} | {("not-possible",)})
    oauth = sorted({(code,) for code in _oauth_codes()})
    pdk = sorted({(text,) for text in _first_texts(SOURCE / "dialects" / "pdk", "Refused")})
    return _page(
        "Errors",
        "## Our own API\n\nProblem documents (RFC 9457). `type` is stable; `detail` is for people and may change.",
        _table(("type", "status", "title"), problems),
        "## Tokens\n\n`/oauth2/token`, `/connect/token` and `/auth/token` answer with the `error` of RFC 6749.",
        _table(("error",), [(f"`{code}`",) for (code,) in oauth]),
        "## WebSockets\n\nThe code with which doorstream closes a connection, in every dialect.",
        _table(("code", "meaning"), [(str(code.value), _CLOSE_CODES[code]) for code in _close_codes_sent()]),
        "## PDK\n\nREST answers `{statusCode, error, message}`. A Socket.IO connection is refused for good with one of "
        "these messages (`CONNECT_ERROR`); an expired token is no reason.",
        _table(("message",), pdk),
        "Requests that are none of Engine.IO are answered with 400 and `{code, message}`.",
        _table(("code", "message"), [(str(fault.value[0]), fault.value[1]) for fault in Fault]),
        "Why a session ended, in the log and in metrics:",
        _table(("reason",), [(reason.value,) for reason in CloseReason]),
        "## Salto KS\n\nREST and refused upgrades answer `{ErrorCode, Message}`.",
        _table(("ErrorCode", "status", "meaning"), _salto_codes()),
        "A hub ends with a Close message:",
        _table(
            ("error", "come back"),
            [
                (NOT_PERMITTED, "no: the role, the user or the client is gone"),
                (POSITION_GONE, "yes, without `since`: something is missing"),
                (TOKEN_EXPIRED, "yes, with a new token (only with `--salto-close-at-expiry`)"),
            ],
        ),
        "## PlaceOS\n\nThe control socket answers every command; `code` and `error_code` are the same. REST answers "
        "`{error}`, and 403 with nothing.",
        _table(("code", "meaning"), [(str(code.value), code.name.lower().replace("_", " ")) for code in PlaceCode]),
        '## Parakey\n\n`{"error": {"code", "message"}}`.',
        _table(("code", "status"), [(f"`{code}`", status) for code, status in parakey]),
        "What can become of one item of `POST /access-keys`, beside `completed`:",
        _table(("code",), [(f"`{code}`",) for (code,) in items]),
    )


def _salto_codes() -> Iterator[tuple[str, str, str]]:
    for status, code in SALTO_BY_STATUS.items():
        yield str(code), str(status), _SALTO_STATUSES[status]
    yield str(BAD_FILTER), "400", "`$filter` or `$orderby` cannot be understood."
    yield str(OTHER), "any other", "The message says what."


def _codes(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _calls(folder: Path, name: str) -> Iterator[ast.Call]:
    """Every place below a folder where something of that name is made."""
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name:
                yield node


def _text_of(node: ast.expr) -> str | None:
    """The text that stands there; what is filled in is shown as an ellipsis."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
    return None


def _first_texts(folder: Path, name: str) -> Iterator[str]:
    """The first text of every such call."""
    for call in _calls(folder, name):
        text = _text_of(call.args[0]) if call.args else None
        if text is not None:
            yield text


def _oauth_codes() -> Iterator[str]:
    yield from _first_texts(SOURCE / "server", "OAuthError")
    yield from _first_texts(SOURCE / "dialects" / "placeos", "OAuthError")


def _parakey_codes() -> Iterator[tuple[str, str]]:
    for call in _calls(SOURCE / "dialects" / "parakey", "ParakeyError"):
        status, code = (ast.literal_eval(argument) for argument in call.args[:2])
        yield code, str(status)


def _close_codes_sent() -> list[CloseCode]:
    """Every close code that the source names, in their order; raises KeyError in the end for one without a text."""
    found = set()
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "CloseCode":
                found.add(CloseCode[node.attr])
    return sorted(found - _NEVER_SENT)


async def _main() -> None:
    async with services() as opened:
        files = generate(compose(opened).openapi())
    for path, text in files.items():
        target = DOCS / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists() or target.read_text() != text:
            target.write_text(text)
            sys.stdout.write(f"docs/{path}\n")


if __name__ == "__main__":
    asyncio.run(_main())
