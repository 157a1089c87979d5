"""What the stream of webhooks holds, and its subjects.

=====================================  ================================================================================
``webhooks.attempt.<webhook>``         the ledger: an ``Attempt`` for each attempt, and for each event held back; those
                                       that end while a message is being written are the next message together
``webhooks.later.<webhook>.<…>``       a ``Due`` that JetStream holds until its time and then stores under …
``webhooks.due.<webhook>``             a ``Due`` that is to be attempted now; replays are put here at once
``webhooks.cursor.<webhook>``          a ``Cursor``, only the last one is kept
=====================================  ================================================================================

Nothing here holds what is sent: a retry reads its event from the log again.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import msgspec

from doorstream.directory.keys import escape
from doorstream.events import Event
from doorstream.events.entities import Webhook
from doorstream.log import Message
from doorstream.webhooks import signing

SUBJECTS = "webhooks.>"
MAX_TOGETHER = 100
"""Attempts in one message: far below NATS' limit also if each keeps the longest answer and error."""

_ANSWER_BYTES = 1000

ATTEMPT, LATER, DUE, CURSOR = "attempt", "later", "due", "cursor"

_FOREVER = {"Nats-TTL": "never"}  # neither a retry nor a position ages with the ledger
_TOKEN = re.compile(r"[^A-Za-z0-9_=-]")


class State(StrEnum):
    """What became of a delivery."""

    DELIVERED = "delivered"
    WAITING = "waiting"
    """It failed and is tried again at ``next``."""
    HELD = "held"
    """An earlier event of the same door is not delivered yet."""
    DEAD = "dead"
    """Given up; it can be replayed."""


class Due(msgspec.Struct, frozen=True, omit_defaults=True):
    """A delivery that is to be attempted.

    ``message`` is the id that every attempt carries. ``number`` is the attempt's, from 1; so many of those before were
    ``spared``: they failed for reasons of our own. ``line`` is the door of an ordered webhook, ``replay`` the id of
    the replay that asked for it. The event is the one at ``sequence`` of the log of ``epoch``.
    """

    delivery: str
    epoch: str
    sequence: int
    event: str
    site: str
    topic: str
    message: str
    number: int = 1
    spared: int = 0
    device: str | None = None
    line: str | None = None
    replay: str | None = None


class Attempt(Due, frozen=True, omit_defaults=True, kw_only=True):
    """One attempt and its outcome; times are milliseconds since 1970 UTC.

    ``number`` 0 is no attempt: the event is held back. ``duration`` is in milliseconds; ``answer`` is the beginning of
    what the receiver said. One that does not ``count`` says nothing of the receiver.
    """

    at: int
    state: State
    status: int | None = None
    error: str | None = None
    duration: int = 0
    answer: str = ""
    next: int | None = None
    test: bool = False
    counts: bool = True


class Cursor(msgspec.Struct, frozen=True):
    """Everything up to this place in the log is finished: delivered, kept for later, given up, or not wanted."""

    epoch: str
    sequence: int


_DUE_FIELDS = Due.__struct_fields__
_encode = msgspec.json.Encoder().encode
decode_attempts = msgspec.json.Decoder(list[Attempt]).decode
decode_due = msgspec.json.Decoder(Due).decode
decode_cursor = msgspec.json.Decoder(Cursor).decode


def attempts_message(webhook_id: str, attempts: Sequence[Attempt]) -> Message:
    """Keep up to MAX_TOGETHER attempts in the ledger."""
    return Message(f"webhooks.{ATTEMPT}.{escape(webhook_id)}", _encode(attempts), {})


def later_message(webhook_id: str, due: Due, when: int) -> Message:
    """Have a delivery attempted at that time (milliseconds). One for the same delivery replaces the one before."""
    token = escape(webhook_id)
    moment = datetime.fromtimestamp(when / 1000, UTC).isoformat(timespec="milliseconds")
    headers = {
        "Nats-Schedule": f"@at {moment.replace('+00:00', 'Z')}",
        "Nats-Schedule-Target": f"webhooks.{DUE}.{token}",
        "Nats-Schedule-TTL": "never",
        **_FOREVER,
    }
    return Message(f"webhooks.{LATER}.{token}.{_TOKEN.sub('_', due.delivery)}", _encode(due), headers)


def due_message(webhook_id: str, due: Due) -> Message:
    """Have a delivery attempted now."""
    return Message(f"webhooks.{DUE}.{escape(webhook_id)}", _encode(due), _FOREVER)


def cursor_message(webhook_id: str, cursor: Cursor) -> Message:
    """Keep how far a webhook has come, instead of what was kept before."""
    return Message(f"webhooks.{CURSOR}.{escape(webhook_id)}", _encode(cursor), {"Nats-Rollup": "sub", **_FOREVER})


def delivery_id(epoch: str, sequence: int, replay: str | None = None) -> str:
    """The id of a delivery among those of its webhook."""
    return f"{epoch}-{sequence}" if replay is None else f"{epoch}-{sequence}-{replay}"


def message_id(event: Event, webhook: Webhook) -> str:
    """The id that every attempt carries: the event's, which is unique in its site only."""
    return signing.message_id(f"{event.site_id}/{event.id}" if webhook.sites else event.id)


def attempt_of(due: Due, **outcome: Any) -> Attempt:
    """The attempt of a delivery that ended so."""
    return Attempt(
        due.delivery,
        due.epoch,
        due.sequence,
        due.event,
        due.site,
        due.topic,
        due.message,
        due.number,
        due.spared,
        due.device,
        due.line,
        due.replay,
        **outcome,
    )


def due_after(due: Due, *, spared: bool) -> Due:
    """The attempt after that one."""
    values = {name: getattr(due, name) for name in _DUE_FIELDS}
    return Due(**values | {"number": due.number + 1, "spared": due.spared + spared})


def shown_answer(answer: bytes) -> str:
    """The beginning of a receiver's answer as text: without what steers terminals, and short in JSON as well."""
    text = answer[:_ANSWER_BYTES].decode(errors="replace")
    return "".join(each if each.isprintable() or each in "\n\t" else "\ufffd" for each in text)
