"""One PDK client's state machine with a clock that is moved by hand."""

from __future__ import annotations

from typing import Any

import pytest

from doorstream.auth import InvalidToken, SystemToken
from doorstream.dialects.pdk.recovery import Resume
from doorstream.dialects.pdk.session import (
    INVALID_TOKEN,
    QUIET,
    REMIND_EVERY,
    SETTLE,
    Deliver,
    Disconnect,
    Emit,
    Phase,
    Refused,
    Reply,
    Seek,
    Session,
    Wake,
    Withhold,
)
from doorstream.events import Position

SITE = "0738b8df-329a-4d50-88e7-7a48928c4d6f"
OTHER = "0738b8df-329a-4d50-88e7-7a48928c4d70"
NOW = 1_000.0
ALLOWED = "device.request.allowed"
DENIED = "device.request.denied"

INVALID = Emit("invalidToken", INVALID_TOKEN)


def check_token(text: str, now: float) -> SystemToken:
    """Tokens of the tests are ``<site> until <time>``; anything else is forged."""
    site, until, expires = text.partition(" until ")
    if not until:
        raise InvalidToken
    return SystemToken(site, "client", "g1", float(expires), float(expires) <= now)


def token(until: float, site: str = SITE) -> str:
    """A token of that site that lives until then."""
    return f"{site} until {until}"


def renewed(until: float, site: str = SITE) -> list[Any]:
    """The arguments of ``renewedToken``."""
    return [{"token": token(until, site)}]


def topics(*names: str) -> list[Any]:
    """The arguments of ``subscribeIsolated``."""
    return [{"topics": list(names)}]


def connected(until: float = NOW + 300, now: float = NOW) -> Session:
    """A client that connected with a token that lives until then."""
    session = Session(check_token)
    session.authenticate(token(until), None, now)
    session.connected(None, behind=False, now=now)
    return session


def held(*names: str, told: bool = True) -> Session:
    """A client whose token expired at NOW; ``told`` when an event was withheld at that moment."""
    session = connected(until=NOW, now=NOW - 60)
    if names:
        session.subscribe(topics(*names), NOW - 60)
    session.wake(NOW, behind=False)
    if told:
        session.withheld(NOW)
    return session


# Connecting


def test_pdk_07_the_token_names_the_system() -> None:
    """PDK-7: ``systemId`` may be missing, or be written in capitals."""
    for system_id in (None, SITE, SITE.upper()):
        assert Session(check_token).authenticate(token(NOW + 1), system_id, NOW).site_id == SITE


@pytest.mark.parametrize(
    ("text", "system_id", "message"),
    [
        ("", None, "a system token is required"),
        ("", SITE, "a system token is required"),
        ("forged", None, "invalid token"),
        (token(NOW + 1), OTHER, "the token belongs to another system"),
        (token(NOW + 1), "", "the token belongs to another system"),
        (token(NOW - 1), OTHER, "the token belongs to another system"),
    ],
)
def test_pdk_07_refused(text: str, system_id: str | None, message: str) -> None:
    """A refusal says why, and never quotes the token."""
    with pytest.raises(Refused, match=message):
        Session(check_token).authenticate(text, system_id, NOW)


def test_follows_from_now_and_wakes_when_the_token_expires() -> None:
    """PDK-9: nothing is subscribed yet."""
    session = Session(check_token)
    session.authenticate(token(NOW + 300), SITE, NOW)
    assert session.connected(None, behind=False, now=NOW) == [Deliver(None), Wake(NOW + 300)]
    assert session.phase is Phase.FOLLOWING


# Subscribing


def test_pdk_08_subscriptions_add_up() -> None:
    """PDK-8, D3: what comes later is added, unknown topics are named in the acknowledgement."""
    session = connected()
    assert session.subscribe(topics(ALLOWED), NOW) == Reply([Deliver(frozenset({ALLOWED}))], {"ok": True})
    both = frozenset({ALLOWED, DENIED})
    assert session.subscribe(topics(DENIED, "door.open"), NOW) == Reply(
        [Deliver(both)], {"ok": True, "ignored": ["door.open"]}
    )
    assert session.topics == both


def test_an_equal_subscription_changes_nothing() -> None:
    """Programs repeat it at every ``connect``: no need to leave a group and join it again."""
    session = connected()
    session.subscribe(topics(ALLOWED, DENIED), NOW)
    assert session.subscribe(topics(DENIED), NOW).commands == []


def test_pdk_09_an_empty_subscription_is_none() -> None:
    """PDK-9: it still gets ``liveEvent``; whoever names only unknown topics gets nothing instead."""
    session = connected()
    assert session.subscribe([{"topics": []}], NOW) == Reply([], {"ok": True})
    assert session.topics is None
    assert session.subscribe(topics("door.open"), NOW).commands == [Deliver(frozenset())]


@pytest.mark.parametrize(
    "arguments",
    [[], [None], ["device"], [{}], [{"topics": "device"}], [{"topics": [1]}], [{"topics": None}], [{"topics": [[]]}]],
)
def test_a_malformed_subscription_is_answered(arguments: list[Any]) -> None:
    """It is told so, and changes nothing."""
    session = connected()
    reply = session.subscribe(arguments, NOW)
    assert reply.commands == []
    assert reply.acknowledgement["ok"] is False
    assert session.topics is None


def test_a_subscription_of_too_many_topics_is_refused() -> None:
    """There are 31: a list of thousands is an attack or a mistake."""
    assert connected().subscribe([{"topics": ["x"] * 1001}], NOW).acknowledgement["ok"] is False


# Expiry


def test_pdk_10_expired_held_told_renewed_released() -> None:
    """PDK-10, D1: the whole story."""
    session = connected(until=NOW + 300)
    assert session.wake(NOW + 300, behind=False) == [Withhold(None)]
    assert session.withheld(NOW + 310) == [INVALID, Wake(NOW + 310 + REMIND_EVERY)]
    reply = session.renew(renewed(NOW + 900), NOW + 311)
    assert reply == Reply([Deliver(None), Wake(NOW + 900)], {"ok": True})
    assert session.phase is Phase.FOLLOWING


def test_pdk_10_no_warning_before_an_event_is_withheld() -> None:
    """The vendor gives none (vendor-apis.md 1.2.2, fact 4): an idle door does not make clients fetch tokens."""
    session = connected(until=NOW)
    assert not any(isinstance(command, Emit) for command in session.wake(NOW, behind=False))
    assert session.wake(NOW + 1000, behind=False) == []


def test_pdk_10_expired_while_older_events_are_still_being_sent() -> None:
    """What is not sent yet is withheld, so the client is told at once: there may not be another event for hours."""
    session = connected(until=NOW + 1)
    assert session.wake(NOW + 1, behind=True) == [Withhold(None), INVALID, Wake(NOW + 1 + REMIND_EVERY)]


def test_pdk_11_one_invalid_token_then_one_every_thirty_seconds() -> None:
    """PDK-11, D1: a client whose renewal failed once is not stranded, and one that cannot renew is not flooded."""
    session = held(ALLOWED)
    assert session.wake(NOW + REMIND_EVERY, behind=True) == [INVALID, Wake(NOW + 2 * REMIND_EVERY)]
    assert session.wake(NOW + 2 * REMIND_EVERY, behind=True) == [INVALID, Wake(NOW + 3 * REMIND_EVERY)]


def test_pdk_11_topics_added_while_withheld() -> None:
    """They are watched too; a client that was told already cannot have itself told again by adding more."""
    fresh = held(ALLOWED, told=False)
    assert fresh.subscribe(topics(DENIED), NOW).commands == [Withhold(frozenset({ALLOWED, DENIED}))]
    told = held(ALLOWED)
    assert told.subscribe(topics(DENIED), NOW + 1).commands == []
    assert told.renew(renewed(NOW + 300), NOW + 2).commands[0] == Deliver(frozenset({ALLOWED, DENIED}))


@pytest.mark.parametrize(
    "arguments",
    [
        renewed(NOW + 900, OTHER),
        renewed(NOW - 1),
        renewed(NOW + 1),
        [{"token": "forged"}],
        [{"token": None}],
        [{"token": ["x"]}],
        [{}],
        ["x"],
        [None],
        [],
    ],
    ids=["other system", "expired", "expires now", "forged", "null", "list", "empty", "text", "nothing", "no argument"],
)
def test_pdk_12_a_bad_renewal_releases_nothing(arguments: list[Any]) -> None:
    """PDK-12: the events stay withheld, and the next one brings ``invalidToken`` again."""
    session = held(ALLOWED)
    reply = session.renew(arguments, NOW + 1)
    assert reply.commands == [Withhold(frozenset({ALLOWED}))]
    assert reply.acknowledgement["ok"] is False
    assert session.phase is Phase.WITHHOLDING
    assert session.withheld(NOW + 2)[0] == INVALID
    assert session.renew(renewed(NOW + 300), NOW + 3).commands[0] == Deliver(frozenset({ALLOWED}))


def test_pdk_12_a_bad_renewal_before_expiry_changes_nothing() -> None:
    """The good token stays."""
    session = connected(until=NOW + 10)
    assert session.renew([{"token": "forged"}], NOW).commands == []
    assert session.wake(NOW + 9, behind=False) == [Wake(NOW + 10)]
    assert session.wake(NOW + 10, behind=False) == [Withhold(None)]


def test_renewal_before_expiry_extends() -> None:
    """Without a pause, and without an ``invalidToken``."""
    session = connected(until=NOW + 10)
    assert session.renew(renewed(NOW + 300), NOW + 5) == Reply([Wake(NOW + 300)], {"ok": True})
    assert session.wake(NOW + 10, behind=False) == [Wake(NOW + 300)]
    assert session.phase is Phase.FOLLOWING


def test_it_can_expire_again_and_again() -> None:
    """The next expiry is announced like the first."""
    session = held()
    session.renew(renewed(NOW + 300), NOW + 1)
    assert session.wake(NOW + 300, behind=False) == [Withhold(None)]
    assert session.withheld(NOW + 301) == [INVALID, Wake(NOW + 301 + REMIND_EVERY)]


def test_pdk_13_an_expired_token_connects_and_is_held() -> None:
    """PDK-13, D2: however old it is. Clients dial again with the token of their first connection."""
    session = Session(check_token)
    session.authenticate(token(NOW - 86_400 * 30), SITE, NOW)
    assert session.connected(None, behind=False, now=NOW) == [Withhold(None)]
    assert session.withheld(NOW + 5) == [INVALID, Wake(NOW + 5 + REMIND_EVERY)]


def test_pdk_13_who_starts_behind_is_told_at_once() -> None:
    """D1: events are withheld from the first moment."""
    session = Session(check_token)
    session.authenticate(token(NOW - 1), SITE, NOW)
    resume = Resume("pid", Position("e", 41), 1, frozenset({ALLOWED}))
    assert session.connected(resume, behind=True, now=NOW) == [
        Seek(Position("e", 41), 1),
        Withhold(frozenset({ALLOWED})),
        INVALID,
        Wake(NOW + REMIND_EVERY),
    ]
    assert session.renew(renewed(NOW + 300), NOW + 1).commands == [Deliver(frozenset({ALLOWED})), Wake(NOW + 300)]


# Resuming


def resumed(topics_then: frozenset[str] | None = None, until: float = NOW + 300) -> Session:
    """A client that resumes with a token that lives until then."""
    session = Session(check_token)
    session.authenticate(token(until), SITE, NOW)
    commands = session.connected(Resume("pid", Position("e", 41), topics=topics_then), behind=True, now=NOW)
    assert commands == [Seek(Position("e", 41)), Wake(min(NOW + SETTLE, until))]
    return session


def test_a_resume_waits_for_the_subscription() -> None:
    """A ``pid`` without offset does not say what was subscribed; ``liveEvent`` alone would lose the gap."""
    session = resumed()
    assert session.subscribe(topics(ALLOWED), NOW + 0.2) == Reply([Wake(NOW + 0.2 + QUIET)], {"ok": True})
    assert session.wake(NOW + 0.2 + QUIET, behind=True) == [Deliver(frozenset({ALLOWED})), Wake(NOW + 300)]


def test_a_resume_waits_for_the_last_of_several_subscriptions() -> None:
    """They add up: had the first released the events, those of the second's topics would be missing."""
    session = resumed()
    session.subscribe(topics(ALLOWED), NOW + 0.2)
    assert session.subscribe(topics(DENIED), NOW + 0.21).commands == [Wake(NOW + 0.21 + QUIET)]
    assert session.wake(NOW + 0.21 + QUIET, behind=True)[0] == Deliver(frozenset({ALLOWED, DENIED}))


def test_a_resume_takes_topics_that_were_added_after_the_last_event() -> None:
    """The offset knows what was subscribed when the last event came; what was added since the program says again."""
    session = resumed(frozenset({ALLOWED}))
    session.subscribe(topics(ALLOWED), NOW)
    session.subscribe(topics(DENIED), NOW)
    assert session.wake(NOW + QUIET, behind=True)[0] == Deliver(frozenset({ALLOWED, DENIED}))


def test_a_resume_without_a_subscription_goes_on_soon() -> None:
    """Programs that ask ``recovered`` do not subscribe again, and the vendor's own library never does."""
    assert resumed(frozenset({ALLOWED})).wake(NOW + SETTLE, behind=True)[0] == Deliver(frozenset({ALLOWED}))
    assert resumed().wake(NOW + SETTLE, behind=True)[0] == Deliver(None)


def test_a_token_that_expires_while_a_resume_waits() -> None:
    """The gap is withheld: the client is told at once."""
    session = resumed(until=NOW + 0.5)
    assert session.wake(NOW + 0.5, behind=True) == [Withhold(None), INVALID, Wake(NOW + 0.5 + REMIND_EVERY)]


def test_a_renewal_while_a_resume_waits() -> None:
    """It counts, and changes nothing about the waiting."""
    session = resumed(until=NOW + 0.5)
    assert session.renew(renewed(NOW + 300), NOW + 0.1).commands == []
    assert session.wake(NOW + 0.5, behind=True) == [Deliver(None), Wake(NOW + 300)]


# The end


@pytest.mark.parametrize("session", [connected(), held(), resumed()], ids=["following", "withheld", "settling"])
def test_revoked(session: Session) -> None:
    """It is put out, and nothing wakes it any more."""
    assert session.revoke() == [Disconnect()]
    assert session.wake(NOW + 1000, behind=True) == []
    assert session.withheld(NOW + 1000) == []
    assert session.renew(renewed(NOW + 9000), NOW).commands == []
