"""One attempt to deliver, against a receiver with faults on real sockets."""

import asyncio
import base64
import contextlib
import gzip
import inspect
import os
import socket
import time

import pytest
import uvloop

from doorstream.log.embedded import free_port
from doorstream.testing import until
from doorstream.testing.receiver import (
    Answer,
    Authority,
    Disconnect,
    Endless,
    Hang,
    Raw,
    Receiver,
    Redirect,
    Reset,
)
from doorstream.webhooks import sender as module
from doorstream.webhooks.guard import BlockedAddress, Policy
from doorstream.webhooks.lanes import Lanes
from doorstream.webhooks.sender import ERRORS, KEPT_BYTES, NOT_THE_ENDPOINT, READ_BYTES, Request, Sender

_LOOPBACK = Policy.of(["127.0.0.0/8"], require_https=False)
_SHORT = 0.4
_BEGUN = 2.0  # within which an answer has begun, whatever else the machine does
_BODY = b'{"id":"event-1"}'


async def _here(_):
    """Every name is this machine."""
    return ["127.0.0.1"]


@pytest.fixture
async def receiver():
    async with Receiver() as receiver:
        yield receiver


@pytest.fixture
async def make():
    """Makes senders, which are closed in the end."""
    senders = []

    def make(policy=_LOOPBACK, **options):
        senders.append(Sender(policy, **({"timeout": 5.0, "lookup": _here} | options)))
        return senders[-1]

    yield make
    for sender in senders:
        await sender.close()


def _request(url, *, headers=None, verify_tls=True):
    return Request(url, headers or {"Content-Type": "application/json"}, _BODY, verify_tls)


async def test_a_delivery_arrives_as_it_was_made(receiver, make):
    headers = {"Content-Type": "application/cloudevents+json", "Authorization": "Basic dTpw", "webhook-id": "msg_1"}
    outcome = await make().send(_request(receiver.url + "?site=1", headers=headers))
    assert outcome.delivered
    assert (outcome.status, outcome.error, outcome.answer, outcome.retry_after) == (200, None, b"", None)
    [request] = receiver.requests
    assert (request.method, request.target, request.body) == ("POST", "/hook?site=1", _BODY)
    assert {name: request.headers[name.lower()] for name in headers} == headers
    assert request.headers["user-agent"].startswith("doorstream/")
    assert request.headers["content-length"] == str(len(_BODY))
    assert abs(request.time - time.time()) < 5


async def test_the_form_may_name_another_user_agent(receiver, make):
    """Parakey's has a name of its own (vendor-apis.md 3.3, row 1)."""
    await make().send(_request(receiver.url, headers={"User-Agent": "Parakey-WebhookWorker/1"}))
    assert receiver.requests[0].headers["user-agent"] == "Parakey-WebhookWorker/1"


async def test_connections_are_used_again(receiver, make):
    sender = make()
    for _ in range(5):
        assert (await sender.send(_request(receiver.url))).delivered
    assert (receiver.accepted, len(receiver.requests)) == (1, 5)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
async def test_every_2xx_is_a_delivery(receiver, make, status):
    receiver.plan(Answer(status))
    assert (await make().send(_request(receiver.url))).delivered


@pytest.mark.parametrize("status", [400, 401, 404, 410, 429, 500, 502, 503, 504])
async def test_every_other_status_is_none_and_tells_all(receiver, make, status):
    receiver.plan(Answer(status, body=b"because"))
    outcome = await make().send(_request(receiver.url))
    assert (outcome.status, outcome.error, outcome.answer, outcome.delivered) == (status, None, b"because", False)


@pytest.mark.parametrize(
    ("plan", "status", "error"),
    [
        (Hang(), None, "timeout"),
        (Answer(delay=60), None, "timeout"),
        (Endless(pause=0.01, chunk=b"x"), 200, "timeout"),
        (Reset(), 200, "reset"),
        (Reset(in_body=False), None, "reset"),
        (Disconnect(), None, "reset"),
        (Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"), 200, "reset"),
        (Raw(b"SSH-2.0-OpenSSH\r\n"), None, "not http"),
        (Raw(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n"), None, "not http"),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_each_fault_has_its_word(receiver, make, plan, status, error):
    receiver.plan(plan)
    late = _SHORT if status is None else _BEGUN
    outcome = await make(timeout=late if error == "timeout" else 10).send(_request(receiver.url))
    assert (outcome.status, outcome.error, outcome.delivered) == (status, error, False)
    assert error in ERRORS
    assert outcome.duration < 5
    await until(lambda: not receiver.open)


async def test_what_is_told_of_an_error_has_nothing_of_the_request(make):
    """An echo service is no HTTP server: a parser's complaint would show what was sent, the password included."""

    async def echo(reader, writer):
        writer.write(await reader.read(4096))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook?token=secret"
    outcome = await make().send(_request(url, headers={"Authorization": "Basic secret"}))
    server.close()
    assert outcome.error == "not http"
    assert outcome.told.startswith("not http: ")
    assert "secret" not in outcome.told


async def test_nobody_listens(make):
    outcome = await make().send(_request(f"http://127.0.0.1:{free_port()}/"))
    assert outcome.error == "refused"


async def test_a_name_that_does_not_exist(make):
    async def nowhere(_):
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    assert (await make(lookup=nowhere).send(_request("http://name.example/"))).error == "dns"


async def test_retry_after_in_seconds(receiver, make):
    for status in (429, 503):
        receiver.plan(Answer(status, {"Retry-After": "7"}))
        outcome = await make().send(_request(receiver.url))
        assert (outcome.status, outcome.retry_after) == (status, 7.0)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("Wed, 21 Oct 2015 07:28:30 GMT", 30.0),
        ("Wed, 21 Oct 2015 07:27:00 GMT", 0.0),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("9" * 400, None),
        ("", None),
        ("Wed, 99 Oct 99999 07:28:30 GMT", None),
    ],
)
async def test_retry_after_in_other_ways(receiver, make, text, seconds):
    """RFC 9110 10.2.3; the time of day is 2015-10-21 07:28:00."""
    receiver.plan(Answer(503, {"Retry-After": text}))
    outcome = await make(now=lambda: 1_445_412_480.0).send(_request(receiver.url))
    assert outcome.retry_after == seconds


async def test_retry_after_without_a_zone_is_in_utc(receiver, make, monkeypatch):
    """``-0000`` says that the zone is not known; it is not that of this machine."""
    receiver.plan(Answer(503, {"Retry-After": "Wed, 21 Oct 2015 07:28:30 -0000"}))
    with monkeypatch.context() as context:
        context.setenv("TZ", "JST-9")
        time.tzset()
        outcome = await make(now=lambda: 1_445_412_480.0).send(_request(receiver.url))
    time.tzset()
    assert outcome.retry_after == 30.0


@pytest.mark.parametrize(
    "url", ["http://10.0.0.1/", "http://[::1]/", "http://2130706433/", "ftp://example.com/", "http://u:p@127.0.0.1/"]
)
async def test_s1_s3_s4_what_may_not_be_reached_is_not_tried(make, url):
    sender = make()
    outcome = await sender.send(_request(url))
    assert (outcome.status, outcome.error) == (None, "blocked")
    assert outcome.detail
    assert sender._session is None


async def test_s1_without_an_allow_list_this_machine_is_out_of_reach(receiver, make):
    sender = make(Policy(require_https=False))
    for url in (receiver.url, receiver.url.replace("127.0.0.1", "name.example")):
        outcome = await sender.send(_request(url))
        assert (outcome.error, outcome.detail) == (
            "blocked",
            "127.0.0.1 is a loopback address; the operator can allow networks",
        )
    assert not receiver.accepted


async def test_s2_a_name_leads_to_the_checked_address_and_keeps_its_host(receiver, make):
    outcome = await make().send(_request(f"http://name.example:{receiver.port}/hook"))
    assert outcome.delivered
    assert receiver.requests[0].headers["host"] == f"name.example:{receiver.port}"


async def test_s2_one_bad_answer_blocks_the_name(receiver, make):
    async def both(_):
        return ["127.0.0.1", "10.0.0.1"]

    outcome = await make(lookup=both).send(_request(f"http://name.example:{receiver.port}/"))
    assert outcome.error == "blocked"
    assert "10.0.0.1" in outcome.detail
    assert not receiver.accepted


async def test_s2_each_new_connection_is_checked_anew(receiver, make):
    """Rebinding: the name leads to an allowed address first and to another one afterwards. Nothing may be cached."""
    answers = [["127.0.0.1"], ["169.254.169.254"], ["127.0.0.1"]]

    async def answer(_):
        return answers.pop(0)

    receiver.plan(Answer(200, {"Connection": "close"}))
    sender, request = make(lookup=answer), _request(f"http://name.example:{receiver.port}/")
    assert [(await sender.send(request)).error for _ in range(3)] == [None, "blocked", None]


async def test_s2_the_last_word_is_at_the_socket(make):
    """Whichever way an address got past the resolver, no socket is made for it."""
    sender = make()
    for address in ("10.0.0.1", "::ffff:127.0.0.1", "fe80::1%2"):
        with pytest.raises(BlockedAddress):
            sender._socket((socket.AF_INET, socket.SOCK_STREAM, 0, "", (address, 80)))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_s4_redirects_are_failures_and_never_followed(receiver, make, status):
    receiver.plan(Redirect(status))
    outcome = await make().send(_request(receiver.url))
    assert (outcome.status, outcome.error, outcome.delivered) == (status, "redirect", False)
    assert receiver.trapped == []


@pytest.mark.parametrize("headers", [{"X": "a\r\nY: b"}, {"Host": "else.example"}, {"Transfer-Encoding": "chunked"}])
async def test_s4_headers_that_cannot_be_sent(receiver, make, headers):
    outcome = await make().send(_request(receiver.url, headers=headers))
    assert outcome.error == "header"
    assert not receiver.accepted


async def test_s4_nothing_comes_from_the_environment(receiver, make, monkeypatch, tmp_path):
    """Neither a proxy nor the passwords of .netrc."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login u password p\n")
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    assert (await make().send(_request(receiver.url))).delivered
    assert "authorization" not in receiver.requests[0].headers


async def test_s5_of_an_endless_answer_little_is_read_and_the_connection_dropped(receiver, make):
    """The status was a success: the receiver has the event, and sending it again would change nothing."""
    receiver.plan(Endless())
    outcome = await make().send(_request(receiver.url))
    assert outcome.delivered
    assert outcome.answer == b"x" * KEPT_BYTES
    await until(lambda: not receiver.open)
    assert receiver.endless_bytes < 100 * READ_BYTES  # what fits into the buffers of two sockets


async def test_s5_an_endless_answer_of_a_failure_keeps_its_status(receiver, make):
    receiver.plan(Endless(500))
    outcome = await make().send(_request(receiver.url))
    assert (outcome.status, outcome.error, outcome.delivered) == (500, None, False)


@pytest.mark.parametrize("size", [0, 1, KEPT_BYTES, KEPT_BYTES + 1, READ_BYTES - 1])
async def test_s5_of_a_long_answer_the_beginning_is_kept(receiver, make, size):
    body = os.urandom(size)
    receiver.plan(Answer(body=body))
    sender = make()
    assert (await sender.send(_request(receiver.url))).answer == body[:KEPT_BYTES]
    await sender.send(_request(receiver.url))
    assert receiver.accepted == 1


async def test_s5_nothing_is_decompressed(receiver, make):
    bomb = gzip.compress(b"\0" * 10_000_000)
    receiver.plan(Answer(200, {"Content-Encoding": "gzip"}, bomb))
    outcome = await make().send(_request(receiver.url))
    assert outcome.delivered
    assert outcome.answer == bomb[:KEPT_BYTES]
    assert receiver.requests[0].headers["accept-encoding"] == "identity"


async def test_s5_the_time_covers_the_lookup(make):
    async def never(_):
        await asyncio.Event().wait()

    outcome = await make(timeout=_SHORT, lookup=never).send(_request("http://name.example/"))
    assert outcome.error == "timeout"
    assert _SHORT * 0.9 < outcome.duration < 5


@contextlib.contextmanager
def _full_listener():
    """The port of a listener that nobody serves and whose queue is full: a connection to it never comes about."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


async def test_s5_the_time_covers_the_connection(make):
    with _full_listener() as port:
        outcome = await make(timeout=_SHORT).send(_request(f"http://127.0.0.1:{port}/"))
    assert (outcome.status, outcome.error) == (None, "timeout")
    assert outcome.duration < 5


async def test_s5_no_cookies_are_kept(receiver, make):
    """One receiver of many webhooks: a cookie of one must not come with another's."""
    receiver.plan(Answer(200, {"Set-Cookie": "a=b"}))
    sender = make()
    for name in ("name.example", "name.example"):
        await sender.send(_request(f"http://{name}:{receiver.port}/"))
    assert all("cookie" not in request.headers for request in receiver.requests)


async def test_tls_is_verified_against_the_name(make):
    authority = Authority()
    async with Receiver(tls=authority.server("right.example")) as receiver:
        sender = make(tls=authority.client())
        right = await sender.send(_request(f"https://right.example:{receiver.port}/"))
        wrong = await sender.send(_request(f"https://wrong.example:{receiver.port}/"))
        waived = await sender.send(_request(f"https://wrong.example:{receiver.port}/", verify_tls=False))
    assert right.delivered
    assert (wrong.status, wrong.error) == (None, "tls")
    assert "wrong.example" in wrong.detail
    assert waived.delivered
    assert len(receiver.requests) == 2


async def test_tls_that_is_expired_or_of_an_unknown_authority(make):
    authority = Authority()
    async with Receiver(tls=authority.server("127.0.0.1", expired=True)) as receiver:
        outcome = await make(tls=authority.client()).send(_request(receiver.url))
        assert (outcome.error, "expired" in outcome.detail) == ("tls", True)
    async with Receiver(tls=authority.server("127.0.0.1")) as receiver:
        assert (await make(tls=Authority().client()).send(_request(receiver.url))).error == "tls"
        assert (await make().send(_request(receiver.url))).error == "tls"


async def test_tls_without_tls_at_the_other_end(make):
    async def speak(_, writer):
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    outcome = await make().send(_request(f"https://127.0.0.1:{port}/"))
    server.close()
    assert outcome.error == "tls"


async def test_s7_through_a_proxy_with_its_password(receiver, make):
    """Plain http: the proxy gets the whole URL. Custom headers go to the target, the password to the proxy alone."""
    sender = make(proxy=f"http://user:word@127.0.0.1:{receiver.port}")
    outcome = await sender.send(_request("http://target.example:8080/x", headers={"X-Key": "k"}))
    assert outcome.delivered
    [request] = receiver.requests
    assert request.target == "http://target.example:8080/x"
    assert request.headers["proxy-authorization"] == "Basic " + base64.b64encode(b"user:word").decode()


async def test_s7_the_operators_proxy_may_be_anywhere(receiver, make):
    """It is named by the operator, and usually inside of the network that no webhook may reach."""

    async def public(_):
        return ["8.8.8.8"]

    sender = make(Policy(require_https=False), proxy=f"http://localhost:{receiver.port}", lookup=public)
    assert (await sender.send(_request("http://target.example/"))).delivered


async def test_s7_a_tunnel_is_asked_for_without_our_headers(receiver, make):
    receiver.plan(Answer(502))
    sender = make(proxy=f"http://127.0.0.1:{receiver.port}")
    outcome = await sender.send(_request("https://target.example/x", headers={"X-Key": "k"}))
    assert (outcome.status, outcome.error, outcome.detail) == (None, "proxy", "the proxy answered 502")
    [request] = receiver.requests
    assert (request.method, request.target) == ("CONNECT", "target.example:443")
    assert "x-key" not in request.headers


@pytest.mark.parametrize("url", ["http://target.example/", "https://target.example/"])
async def test_s7_a_dead_proxy_is_not_the_endpoints_fault(make, url):
    outcome = await make(proxy=f"http://127.0.0.1:{free_port()}").send(_request(url))
    assert outcome.error == "proxy"
    assert outcome.error in NOT_THE_ENDPOINT


async def test_s7_a_proxy_that_takes_no_connection_is_not_the_endpoints_fault(make, monkeypatch):
    monkeypatch.setattr(module, "_CONNECT_TO_PROXY", _SHORT)
    with _full_listener() as port:
        outcome = await make(proxy=f"http://127.0.0.1:{port}").send(_request("http://target.example/"))
    assert outcome.error == "proxy"


async def test_s7_a_proxy_that_wants_a_password(receiver, make):
    receiver.plan(Answer(407))
    sender = make(proxy=f"http://127.0.0.1:{receiver.port}")
    for url in ("http://target.example/", "https://target.example/"):
        assert (await sender.send(_request(url))).error == "proxy"


async def test_s7_a_proxy_with_a_wrong_certificate_is_the_proxys_fault(make):
    async with Receiver(tls=Authority().server("127.0.0.1")) as receiver:
        outcome = await make(proxy=receiver.origin).send(_request("http://target.example/"))
    assert outcome.error == "proxy"


async def test_s7_a_silent_endpoint_behind_a_proxy_is_the_endpoints_fault(receiver, make):
    receiver.plan(Hang())
    sender = make(timeout=_SHORT, proxy=f"http://127.0.0.1:{receiver.port}")
    for url in ("http://target.example/", "https://target.example/"):
        assert (await sender.send(_request(url))).error == "timeout"


async def test_s7_the_target_is_checked_before_the_proxy_is_asked(receiver, make):
    async def answer(name):
        if name == "unknown.example":
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return ["10.0.0.1"]

    sender = make(proxy=f"http://127.0.0.1:{receiver.port}", lookup=answer)
    assert (await sender.send(_request("http://inside.example/"))).error == "blocked"
    assert (await sender.send(_request("http://10.0.0.1/"))).error == "blocked"
    assert (await sender.send(_request("http://unknown.example/"))).error == "dns"
    assert not receiver.accepted


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1", "127.0.0.1:3128", "http://"])
def test_s7_a_proxy_that_cannot_be_used_is_refused(proxy):
    with pytest.raises(ValueError, match="proxy"):
        Sender(_LOOPBACK, proxy=proxy)


async def test_an_unforeseen_error_is_told_and_charged_to_us(receiver, make, monkeypatch):
    sender = make()
    monkeypatch.setattr(sender, "_exchange", lambda *_: 1 / 0)
    outcome = await sender.send(_request(receiver.url))
    assert (outcome.error, outcome.detail) == ("local", "ZeroDivisionError")
    assert outcome.error in NOT_THE_ENDPOINT


async def test_no_descriptors_left_is_our_fault(receiver, make, monkeypatch):
    def no_more(*_):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(module, "_Socket", no_more)
    no_more.open = 0
    assert (await make().send(_request(receiver.url))).error == "local"


async def test_cancelling_an_attempt_closes_its_connection(receiver, make):
    receiver.plan(Hang())
    attempt = asyncio.create_task(make().send(_request(receiver.url)))
    await until(lambda: receiver.requests)
    attempt.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attempt
    await until(lambda: not receiver.open)


async def test_after_closing_nothing_is_sent_and_nothing_is_charged(receiver, make):
    receiver.plan(Hang())
    sender = make()
    attempt = asyncio.create_task(sender.send(_request(receiver.url)))
    await until(lambda: receiver.requests)
    await sender.close()
    assert (await attempt).error == "local"
    assert (await sender.send(_request(receiver.url))).error == "local"
    assert len(receiver.requests) == 1


async def test_a_hundred_dead_endpoints_hold_up_nobody(receiver, make):
    """Each has one attempt under way and more waiting; a living endpoint of the same host is served as ever."""
    receiver.plan(Hang(), path="/dead")
    sender = make(timeout=60)  # none of the dead is given up meanwhile, which would be another one's turn
    dead = [
        asyncio.create_task(sender.send(_request(f"{receiver.origin}/dead?{number}")))
        for number in range(100)
        for _ in range(5)
    ]
    await until(lambda: len(receiver.requests) == 100)
    outcomes = await asyncio.gather(*(sender.send(_request(receiver.url)) for _ in range(200)))
    assert all(outcome.delivered for outcome in outcomes)
    assert receiver.accepted <= 100 + 64
    assert sum(request.path == "/dead" for request in receiver.requests) == 100
    for task in dead:
        task.cancel()
    await asyncio.gather(*dead, return_exceptions=True)


async def test_waiting_for_a_turn_takes_nothing_from_the_time_of_an_attempt(receiver, make):
    receiver.plan(Answer(500, delay=0.8))
    sender = make(timeout=2.0, lanes=Lanes(widest=1))
    outcomes = await asyncio.gather(*(sender.send(_request(receiver.url)) for _ in range(3)))
    assert [outcome.status for outcome in outcomes] == [500] * 3
    assert max(outcome.duration for outcome in outcomes) < 2.0


async def test_with_many_sockets_open_connections_are_not_kept(receiver, make, monkeypatch):
    monkeypatch.setattr(module, "KEPT_OPEN", -1)
    assert (await make().send(_request(receiver.url))).delivered
    assert receiver.requests[0].headers["connection"] == "close"
    await until(lambda: not receiver.open)


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_sockets_are_counted_off_when_they_close(run):
    """One loop closes a socket, the other detaches it."""

    async def scenario():
        authority = Authority()
        before = module._Socket.open
        async with Receiver() as plain, Receiver(tls=authority.server("127.0.0.1")) as secure:
            plain.plan(Answer(), Reset(), Hang())
            sender = Sender(_LOOPBACK, timeout=_BEGUN, tls=authority.client())
            await sender.send(_request(plain.url))
            assert module._Socket.open == before + 1
            for _ in range(2):
                await sender.send(_request(plain.url))
            await sender.send(_request(secure.url))
            await sender.send(_request(f"http://127.0.0.1:{free_port()}/"))
            await sender.close()
            await until(lambda: module._Socket.open == before)

    run(scenario())


async def _enter(lanes, key, count):
    tasks = [asyncio.create_task(lanes.enter(key)) for _ in range(count)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return tasks


def _inside(tasks):
    return sum(task.done() and not task.cancelled() for task in tasks)


async def test_lanes_widen_with_each_answer_and_narrow_at_the_first_silence():
    lanes = Lanes(widest=4, spare=100)
    tasks = await _enter(lanes, "a", 20)
    seen = [_inside(tasks)]
    for answered in (True, True, True, False):
        lanes.leave(tasks[0].result(), answered=answered)
        await asyncio.sleep(0)
        seen.append(_inside(tasks))
    # 1 runs; after the first answer 2, after the second 4, then one for one; after a silence nobody until one is left
    assert seen == [1, 3, 6, 7, 7]
    for task in tasks:
        task.cancel()


async def test_lanes_share_what_goes_beyond_the_first_and_keep_one_for_everybody():
    lanes = Lanes(widest=8, spare=3)
    warm = await lanes.enter("a")
    for _ in range(3):
        lanes.leave(warm, answered=True)
        warm = await lanes.enter("a")
    lanes.leave(warm, answered=True)
    busy = await _enter(lanes, "a", 8)
    assert _inside(busy) == 1 + 3
    others = [await _enter(lanes, key, 2) for key in "bcd"]
    assert [_inside(tasks) for tasks in others] == [1, 1, 1]
    # b answers and could have two, but there is no room until a has left one
    lanes.leave(others[0][0].result(), answered=True)
    lanes._lane("b").width = 2
    third = await _enter(lanes, "b", 1)
    assert (_inside(others[0]), _inside(third)) == (2, 0)
    for task in busy[4:]:
        task.cancel()
    await asyncio.sleep(0)
    lanes.leave(busy[0].result(), answered=True)
    await asyncio.sleep(0)
    assert _inside(third) == 1
    for tasks in (busy, *others):
        for task in tasks:
            task.cancel()


async def test_lanes_give_back_what_a_cancelled_one_had_or_waited_for():
    lanes = Lanes(widest=1)
    first = await lanes.enter("a")
    waiting = await _enter(lanes, "a", 3)
    waiting[0].cancel()
    await asyncio.sleep(0)
    lanes.leave(first, answered=True)
    waiting[1].cancel()  # let on just now, and cancelled before it could know
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert [task.cancelled() for task in waiting] == [True, True, False]
    assert _inside(waiting) == 1


async def test_lanes_let_others_on_past_one_that_is_cancelled_in_the_same_turn():
    """The cancelled one had been taken out of the line before it could do so itself, and ended with a ValueError."""
    lanes = Lanes(widest=1)
    first = await lanes.enter("a")
    waiting = await _enter(lanes, "a", 2)
    waiting[0].cancel()
    lanes.leave(first, answered=True)
    await asyncio.wait(waiting)
    assert [task.cancelled() for task in waiting] == [True, False]
    lanes.leave(waiting[1].result(), answered=True)
    assert await asyncio.wait_for(lanes.enter("a"), 5)


async def test_lanes_forget_endpoints_that_are_not_tried_any_more(monkeypatch):
    monkeypatch.setattr("doorstream.webhooks.lanes._REMEMBERED", 10)
    lanes = Lanes()
    for number in range(100):
        lanes.leave(await lanes.enter(str(number)), answered=True)
    assert len(lanes._lanes) == 10


def test_par_11_an_attempt_may_take_15_s():
    """Parakey's receivers have to answer within that time (PAR-11), and it is what senders are made with."""
    assert module.TIMEOUT == 15.0
    assert inspect.signature(Sender).parameters["timeout"].default == module.TIMEOUT
