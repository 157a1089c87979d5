"""When a failed delivery is tried again (design D6). Pure."""

from __future__ import annotations

from dataclasses import dataclass

from doorstream.events.entities import Webhook
from doorstream.webhooks.records import State
from doorstream.webhooks.sender import NOT_THE_ENDPOINT, Outcome

PARAKEY = (15.0, 45.0, 120.0, 300.0, 720.0)
"""Waits in seconds: 15 s, 1, 3, 8 and 20 minutes after the first failure (seed 002; design D6)."""

STANDARD = (5.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0)
"""Waits in seconds between the ten attempts that Standard Webhooks 1.0.0 suggests."""

JITTER = 0.1
MAX_RETRY_AFTER = 86_400.0
"""A receiver that asks for more than a day gets a day."""

_OWN_FAULT = 30.0
_GONE = 410
_THROTTLED = (429, 503)
_SUCCESS = range(200, 300)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What follows from an outcome: times are unix seconds.

    ``next`` is the next attempt's, None when there is none; until ``pause`` the whole webhook rests; ``gone``: the
    receiver wants no more; ``spared``: the failure is not the receiver's and does not count.
    """

    state: State
    next: float | None = None
    pause: float | None = None
    gone: bool = False
    spared: bool = False


_DELIVERED = Verdict(State.DELIVERED)


def waits_of(webhook: Webhook) -> tuple[float, ...]:
    """The waits between a webhook's attempts, in seconds."""
    if webhook.retry is not None:
        return webhook.retry
    return PARAKEY if webhook.form == "parakey" else STANDARD


def judge(  # noqa: PLR0913 - each is another thing to know
    outcome: Outcome, number: int, waits: tuple[float, ...], *, now: float, chance: float, moved: bool = False
) -> Verdict:
    """What follows from the outcome of an attempt of that number; ``chance`` is from 0 to 1 and spreads the retries.

    ``moved``: the webhook has another address since the attempt began, which is to have its try.
    """
    if outcome.error is None and outcome.status in _SUCCESS:
        return _DELIVERED
    spread = 1 - JITTER + 2 * JITTER * chance
    if moved or outcome.error in NOT_THE_ENDPOINT:
        return Verdict(State.WAITING, now + _OWN_FAULT * spread, spared=True)
    if outcome.status == _GONE:
        return Verdict(State.DEAD, gone=True)
    asked = min(outcome.retry_after, MAX_RETRY_AFTER) if outcome.retry_after is not None else None
    pause = now + asked if asked is not None and outcome.status in _THROTTLED else None
    if number > len(waits):
        return Verdict(State.DEAD, pause=pause)
    following = now + waits[number - 1] * spread
    if pause is not None:
        following = max(following, pause)
    return Verdict(State.WAITING, following, pause)
