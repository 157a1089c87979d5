"""The connection to NATS."""

import asyncio

import pytest

from doorstream.log import ApiError, Connection, LogUnavailable, StartError
from doorstream.log import connection as module


async def test_an_unreachable_server_is_told_with_its_reason(monkeypatch):
    monkeypatch.setattr(module, "_CONNECT_PATIENCE", 2.0)
    with pytest.raises(StartError, match="NATS cannot be reached: Connection refused"):
        await Connection().open("nats://127.0.0.1:1")


async def test_a_wrong_password_is_told_and_never_shown(monkeypatch, shared_server):
    monkeypatch.setattr(module, "_CONNECT_PATIENCE", 2.0)  # the server has to get its turn to refuse
    url = shared_server.url.replace(shared_server._password, "not-the-password")
    with pytest.raises(StartError, match="Authorization Violation") as raised:
        await Connection().open(url)
    assert "not-the-password" not in str(raised.value)


@pytest.mark.parametrize("url", ["nats://127.0.0.1:port", "nats://"])
async def test_an_address_that_is_none_is_told(url, monkeypatch):
    monkeypatch.setattr(module, "_CONNECT_PATIENCE", 0.3)
    with pytest.raises(StartError, match="NATS cannot be reached"):
        await Connection().open(url)


async def test_an_old_server_is_refused(monkeypatch, nats_url):
    monkeypatch.setattr(module, "_MINIMUM_VERSION", (99, 0))
    with pytest.raises(StartError, match="too old"):
        await Connection().open(nats_url)


async def test_jetstreams_refusal_has_its_code(connection):
    with pytest.raises(ApiError) as raised:
        await connection.api("STREAM.INFO.NOPE")
    assert raised.value.code == 10059


async def test_a_question_that_nobody_hears_fails_at_once(connection):
    with pytest.raises(LogUnavailable, match="is not available"):  # told by the server, and not for want of an answer
        await connection.request("nobody.listens")
    assert not connection._answers


async def test_a_question_that_is_not_answered_fails_in_time(connection, monkeypatch):
    monkeypatch.setattr(module, "REQUEST_TIMEOUT", 0.05)
    await connection.client.listen("silence", lambda *_: None)
    with pytest.raises(LogUnavailable, match="did not answer"):
        await connection.request("silence")
    assert not connection._answers


async def test_a_question_that_is_given_up_leaves_nothing_behind(connection):
    await connection.client.listen("silence", lambda *_: None)
    asking = asyncio.create_task(connection.request("silence"))
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert not connection._answers
    assert not connection._expected


async def test_many_questions_get_their_own_answers(connection):
    def answer(_subject, reply, data, _headers):
        connection.client.send(b"PUB %b %d\r\n%b\r\n" % (reply, len(data), data))

    await connection.client.listen("echo", answer)
    answers = await asyncio.gather(*(connection.request("echo", b"%d" % number) for number in range(100)))
    assert answers == [b"%d" % number for number in range(100)]


async def test_a_closed_connection_does_not_hang(nats_url):
    connection = Connection()
    await connection.open(nats_url)
    await connection.close()
    with pytest.raises(LogUnavailable):
        await connection.api("INFO")
    await connection.close()
