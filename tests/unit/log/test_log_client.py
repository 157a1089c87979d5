"""The short ways around nats-py."""

import asyncio

import pytest
from structlog.testing import capture_logs

from doorstream.log import LogUnavailable
from doorstream.log.client import parse_headers, publish_command, status_of


def test_a_command_with_headers():
    assert (
        publish_command("a.b", b"data", "X: 1\r\nY: 2\r\n", "answer")
        == b"HPUB a.b answer 24 28\r\nNATS/1.0\r\nX: 1\r\nY: 2\r\n\r\ndata\r\n"
    )


def test_a_command_without_headers_or_reply():
    assert publish_command("a.b", b"") == b"PUB a.b  0\r\n\r\n"


@pytest.mark.parametrize(
    ("block", "status", "headers"),
    [
        (b"", b"", {}),
        (b"NATS/1.0\r\nA: 1\r\nB:2\r\n\r\n", b"", {"A": "1", "B": "2"}),
        (b"NATS/1.0 503\r\n\r\n", b"503", {}),
        (b"NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: 7\r\n\r\n", b"100", {"Nats-Last-Consumer": "7"}),
        (b"NATS/1.0\r\nA: x: y\r\nno colon\r\n\xff: \xff\r\n\r\n", b"", {"A": "x: y", "\ufffd": "\ufffd"}),
    ],
)
def test_header_blocks(block, status, headers):
    assert status_of(block) == status
    assert parse_headers(block) == headers


async def test_messages_are_handed_over_as_they_came(connection):
    got = []
    done = asyncio.Event()

    def receive(*message):
        got.append(message)
        if len(got) == 2:
            done.set()

    await connection.client.listen("here.*", receive)
    connection.client.send(publish_command("here.a", b"1", "X: 1\r\n", "back") + publish_command("here.b", b"2"))
    await asyncio.wait_for(done.wait(), 5)

    assert got == [(b"here.a", b"back", b"1", b"NATS/1.0\r\nX: 1\r\n\r\n"), (b"here.b", b"", b"2", b"")]


async def test_a_receiver_that_fails_is_reported_and_called_again(connection):
    got = []
    done = asyncio.Event()

    def receive(_subject, _reply, data, _headers):
        got.append(data)
        if data == b"1":
            raise RuntimeError("broken")
        done.set()

    await connection.client.listen("here", receive)
    with capture_logs() as logs:
        connection.client.send(publish_command("here", b"1") + publish_command("here", b"2"))
        await asyncio.wait_for(done.wait(), 5)

    assert got == [b"1", b"2"]
    assert [entry["subject"] for entry in logs if entry["log_level"] == "error"] == ["here"]


async def test_after_unsubscribing_nothing_comes(connection):
    got = []
    subscription = await connection.client.listen("here", lambda *message: got.append(message))
    await subscription.unsubscribe()
    connection.client.send(publish_command("here", b"1"))
    await connection.client.flush()

    assert got == []
    assert connection.client._receivers.keys() == {1}  # the connection's own inbox


async def test_a_closed_connection_takes_nothing(connection):
    await connection.close()

    with pytest.raises(LogUnavailable):
        connection.client.send(publish_command("here", b"1"))
