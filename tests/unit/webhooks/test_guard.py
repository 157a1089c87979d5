"""Where requests may go: S1 to S4 of reliability.md, one or more named tests each."""

import asyncio
import ipaddress
import socket
import threading
from types import SimpleNamespace

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from doorstream.directory import InvalidEntity
from doorstream.directory.webhook_rules import check_webhook
from doorstream.events.entities import Webhook
from doorstream.testing import until
from doorstream.webhooks import lookup
from doorstream.webhooks.guard import (
    BadHeader,
    BadUrl,
    BlockedAddress,
    Policy,
    Resolver,
    check_address,
    check_headers,
    check_url,
    is_address,
)
from doorstream.webhooks.lookup import SystemLookup

_STRICT = Policy()
_HTTP = Policy(require_https=False)
_EVERYWHERE = Policy.of(["0.0.0.0/0", "::/0"], require_https=False)

_RESERVED = ["192.0.0.8", "192.0.2.1", "198.18.0.1", "203.0.113.9", "240.0.0.1", "255.255.255.255", "2001:db8::1"]
_RESERVED += ["2001:20::1", "3fff::1", "5f00::1", "100::1", "4000::1", "2001:2::1"]
_ODD = ["2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "127.1", "127.0.1", "00000127.0.0.1", "127.0.0.1.", "0x"]
_ODD += ["1", "134744072", "8.8.8.8.", "0x8.8.8.8", "256.1.1.1", "1.2.3.4.5", "foo.1", "foo.0x1f."]
_CONNECTION = ["Host", "content-length", "Transfer-Encoding", "CONNECTION", "Upgrade", "TE", "Trailer", "Keep-Alive"]
_CONNECTION += ["Expect", "Proxy-Authorization", "Proxy-Connection", "Proxy-Authenticate"]
_BLOCKED = {
    "loopback": ["127.0.0.1", "127.255.255.254", "::1"],
    "private": ["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fc00::1", "fd12:3456::1", "fec0::1"],
    "link-local": ["169.254.1.1", "fe80::1"],
    "CGNAT": ["100.64.0.1", "100.127.255.255"],
    "multicast": ["224.0.0.1", "239.255.255.255", "ff02::1"],
    "reserved": _RESERVED,
    "this machine": ["0.0.0.0", "0.1.2.3", "::"],  # noqa: S104 - nothing is bound
    "metadata": ["169.254.169.254", "fd00:ec2::254", "100.100.100.200", "168.63.129.16"],
    "mapped": ["::ffff:127.0.0.1", "::ffff:8.8.8.8"],
    "compatible": ["::127.0.0.1", "::8.8.8.8"],
    "translated": ["::ffff:0:127.0.0.1"],
    "6to4": ["2002:7f00:1::", "2002:808:808::1", "192.88.99.1"],
    "NAT64": ["64:ff9b::7f00:1", "64:ff9b::808:808", "64:ff9b:1::a00:1"],
    "Teredo": ["2001:0:4136:e378:8000:63bf:3fff:fdd2"],
}


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in _BLOCKED.items() for text in texts])
def test_s1_what_is_not_public_is_blocked_and_named(kind, text):
    with pytest.raises(BlockedAddress) as refusal:
        check_address(text, _STRICT)
    if kind != "reserved":  # a list of small networks, some within others
        assert kind in str(refusal.value)


def test_s1_isatap_is_blocked_in_any_network():
    with pytest.raises(BlockedAddress):
        check_address("2a00:1450:4001:82a:0:5efe:10.0.0.1", _STRICT)


@pytest.mark.parametrize("text", ["8.8.8.8", "1.1.1.1", "193.0.6.139", "2a00:1450:4001:82a::200e", "2606:4700::1111"])
def test_s1_what_is_public_is_open(text):
    check_address(text, _STRICT)


@pytest.mark.parametrize(("network", "text"), [("192.168.10.0/24", "192.168.10.7"), ("fd12::/16", "fd12::7")])
def test_s1_the_operator_can_allow_a_network_and_only_that(network, text):
    policy = Policy.of([network])
    check_address(text, policy)
    for other in ("192.168.11.7", "fd13::7", "127.0.0.1"):
        with pytest.raises(BlockedAddress):
            check_address(other, policy)


def test_s1_allowing_nat64_does_not_open_private_addresses_behind_it():
    """On a network with IPv6 only, every IPv4 receiver is seen as 64:ff9b::…, and so is 10.0.0.1."""
    policy = Policy.of(["64:ff9b::/96"])
    check_address("64:ff9b::808:808", policy)
    with pytest.raises(BlockedAddress, match="private"):
        check_address("64:ff9b::a00:1", policy)
    check_address("64:ff9b::a00:1", Policy.of(["64:ff9b::/96", "10.0.0.0/8"]))


def test_s1_allowing_the_loopback_does_not_open_it_in_disguise():
    policy = Policy.of(["127.0.0.0/8", "::1/128"])
    check_address("::1", policy)
    for text in ("::ffff:127.0.0.1", "::127.0.0.1", "2002:7f00:1::"):
        with pytest.raises(BlockedAddress):
            check_address(text, policy)


@given(st.ip_addresses(v=4))
def test_s1_nothing_passes_that_python_does_not_call_global(address):
    assume(not address.is_global or address.is_multicast)
    with pytest.raises(BlockedAddress):
        check_address(str(address), _STRICT)


@given(st.ip_addresses(v=4))
@example(ipaddress.ip_address("8.8.8.8"))
def test_s1_no_ipv4_address_can_hide_in_an_ipv6_address(address):
    number = int(address)
    high, low = number >> 16, number & 0xFFFF
    for disguise in (
        ipaddress.IPv6Address(number),
        ipaddress.IPv6Address(0xFFFF_0000_0000 | number),
        ipaddress.IPv6Address(0xFFFF_0000_0000_0000 | number),
        f"64:ff9b::{high:x}:{low:x}",
        f"2002:{high:x}:{low:x}::1",
        f"2001:0:{high:x}:{low:x}::",
        f"2a00:1450::5efe:{high:x}:{low:x}",
    ):
        with pytest.raises(BlockedAddress):
            check_address(str(disguise), _STRICT)


@given(st.ip_addresses())
def test_s1_allowing_everything_allows_everything(address):
    check_address(str(address), _EVERYWHERE)


async def _resolve(answers, policy=_STRICT):
    async def answer(_):
        return answers

    return [result["host"] for result in await Resolver(policy, answer).resolve("name.example", 443)]


async def test_s2_a_name_leads_to_exactly_what_was_checked():
    assert await _resolve(["8.8.8.8", "2606:4700::1111"]) == ["8.8.8.8", "2606:4700::1111"]


@pytest.mark.parametrize("position", [0, 1, 2])
async def test_s2_one_bad_answer_among_good_ones_blocks_the_name(position):
    answers = ["8.8.8.8", "1.1.1.1"]
    answers.insert(position, "10.0.0.1")
    with pytest.raises(BlockedAddress, match=r"10\.0\.0\.1"):
        await _resolve(answers)


async def test_s2_a_name_is_asked_for_each_time():
    """Rebinding: a good answer once is no promise."""
    answers = [["8.8.8.8"], ["127.0.0.1"]]

    async def answer(_):
        return answers.pop(0)

    resolver = Resolver(_STRICT, answer)
    await resolver.resolve("name.example", 443)
    with pytest.raises(BlockedAddress):
        await resolver.resolve("name.example", 443)


async def test_s2_a_name_without_an_address_is_an_error():
    with pytest.raises(socket.gaierror):
        await _resolve([])


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "10.1.2.3",
        "[::1]",
        "[fe80::1%25eth0]",
        "[fe80::1%eth0]",
        "[::ffff:127.0.0.1]",
        "[0:0:0:0:0:0:0:1]",
        "[::ffff:7f00:1]",
        "①②⑦.0.0.1",
        "127。0。0。1",
    ],
)
def test_s3_addresses_written_out_are_checked(host):
    with pytest.raises(BlockedAddress):
        check_url(f"https://{host}/hook", _STRICT)


@pytest.mark.parametrize("host", _ODD)
def test_s3_odd_spellings_of_ipv4_are_refused_whatever_they_mean(host):
    with pytest.raises(BadUrl, match="four decimal numbers"):
        check_url(f"https://{host}/", _EVERYWHERE)


@given(st.ip_addresses(v=4), st.sampled_from(["{}", "0x{:x}", "0{:o}"]), st.integers(1, 4))
def test_s3_no_spelling_that_the_system_understands_gets_through(address, style, count):
    """All numbers of one to four parts that ``inet_aton`` reads: only the usual spelling is taken."""
    packed = address.packed
    numbers = [*packed[: count - 1], int.from_bytes(packed[count - 1 :])]
    host = ".".join(style.format(number) for number in numbers)
    assume(host != str(address))
    assert socket.inet_aton(host) == packed
    with pytest.raises(BadUrl):
        check_url(f"http://{host}/", _EVERYWHERE)


@given(st.ip_addresses())
def test_s3_addresses_in_urls_are_judged_as_by_themselves(address):
    host = f"[{address}]" if address.version == 6 else str(address)
    try:
        check_address(str(address), _HTTP)
    except BlockedAddress:
        with pytest.raises(BlockedAddress):
            check_url(f"http://{host}/", _HTTP)
    else:
        url = check_url(f"http://{host}/", _HTTP)
        assert is_address(url.raw_host or "")


@pytest.mark.parametrize(
    "text",
    [
        "ftp://example.com/",
        "file:///etc/passwd",
        "gopher://example.com/",
        "ws://example.com/",
        "//example.com/",
        "/path",
        "example.com",
        "javascript:alert(1)",
        "https:///path",
        "https://",
        "",
        "https:example.com",
    ],
)
def test_s4_only_http_and_https(text):
    with pytest.raises(BadUrl):
        check_url(text, _HTTP)


def test_s4_https_is_required_unless_the_policy_allows_http():
    with pytest.raises(BadUrl, match="https"):
        check_url("http://example.com/", _STRICT)
    assert str(check_url("http://example.com/", _HTTP)) == "http://example.com/"


@pytest.mark.parametrize(
    "authority", ["user@example.com", "user:pass@example.com", ":pass@example.com", "@example.com"]
)
def test_s4_no_user_in_the_url(authority):
    with pytest.raises(BadUrl, match="user or password"):
        check_url(f"https://{authority}/", _STRICT)


def test_s4_an_at_sign_behind_the_host_is_no_user():
    for text in ("https://example.com/@me", "https://example.com?to=a@b", "https://example.com/?to=a@b"):
        check_url(text, _STRICT)


@pytest.mark.parametrize("port", [1, 22, 25, 53, 111, 444, 1023, 0, 65536])
def test_s4_ports_of_system_services_are_refused(port):
    with pytest.raises(BadUrl):
        check_url(f"https://example.com:{port}/", _STRICT)


@pytest.mark.parametrize("port", [80, 443, 1024, 8443, 65535])
def test_s4_other_ports_are_open_and_the_policy_can_say_otherwise(port):
    check_url(f"https://example.com:{port}/", _STRICT)
    with pytest.raises(BadUrl, match="port"):
        check_url(f"https://example.com:{port}/", Policy(ports=(range(9, 10),)))


@pytest.mark.parametrize(
    "text",
    [
        "https://exa mple.com/",
        "https://example.com/\r\nX: y",
        "https://example.com/\x00",
        "https://example.com\\@evil.example/",
        "https://ex%61mple.com/",
        "https://[::1/",
        "https://[v1.x]/",
        "https://exam<ple.com/",
        "https://" + "a" * 300 + ".com/",
        "https://example.com/" + "a" * 2048,
    ],
)
def test_s4_what_parsers_read_in_different_ways_is_refused(text):
    with pytest.raises(BadUrl):
        check_url(text, _STRICT)


@given(
    st.one_of(
        st.text(), st.text().map("https://{}".format), st.text("[]:%@/.0x12a", max_size=20).map("http://{}".format)
    )
)
@example("http://[]@")  # yarl raises IndexError
def test_s4_any_text_is_taken_or_refused_and_nothing_else(text):
    try:
        url = check_url(text, _HTTP)
    except BadUrl:
        return
    assert url.scheme in {"http", "https"}
    assert url.raw_host
    assert url.raw_user is None


def test_s4_a_name_is_taken_and_encoded():
    assert check_url("https://bücher.example/x?y=1", _STRICT).raw_host == "xn--bcher-kva.example"


@pytest.mark.parametrize("value", ["a\r\nX: y", "a\nb", "a\rb", "a\x00b", "\x7f", "ü", "a\u2028b", "a\n"])
def test_s4_header_values_have_no_line_breaks(value):
    with pytest.raises(BadHeader) as refusal:
        check_headers({"X-Key": value})
    assert value not in str(refusal.value)


@pytest.mark.parametrize("name", ["", "X Key", "X:Key", "X\r\nY", "Schlüssel", "X-Key\n"])
def test_s4_header_names_are_tokens(name):
    with pytest.raises(BadHeader):
        check_headers({name: "a"})


@pytest.mark.parametrize("name", _CONNECTION)
def test_s4_headers_of_the_connection_cannot_be_set(name):
    with pytest.raises(BadHeader, match=name):
        check_headers({name: "a"})


def test_s4_ordinary_headers_can_be_set():
    check_headers({"Authorization": "Basic dTpw", "X-Key": "", "X-Text": 'a "b"\tc ~'})


@pytest.mark.parametrize("name", ["X-Key", "x_key", "Expect", "Host", "X" * 128, "X" * 129, "X:Key", "Webhook-Id"])
@pytest.mark.parametrize("value", ["", "a b", "a\tb", "a\nb", "café", "\x7f", "\u2028"])
def test_s4_what_a_webhook_may_have_can_be_sent(name, value):
    """Or it would be taken, and then fail for ever as if its receiver did."""
    fields = {"name": "w", "url": "https://a.example", "site_id": "s", "created": "", "start": ""}
    webhook = Webhook(id="w", headers={name: value}, **fields)
    try:
        check_webhook(webhook, SimpleNamespace(site=lambda _: True))
    except InvalidEntity:
        return
    check_headers({name: value})


async def test_names_are_asked_of_the_system():
    assert "127.0.0.1" in await SystemLookup()("localhost")


async def test_a_name_that_cannot_exist_is_an_ordinary_error():
    for name in ("a..b", "x" * 64 + ".example"):
        with pytest.raises(OSError, match=r"."):
            await SystemLookup()(name)


async def test_a_silent_name_costs_one_thread_and_stops_no_other(monkeypatch):
    """Attempts on a name whose server is silent join the question that is under way; giving up takes it from no one."""
    gate, asked = threading.Event(), []

    def addresses(name):
        asked.append(name)
        if name == "silent.example":
            gate.wait(10)
        return ["8.8.8.8"]

    monkeypatch.setattr(lookup, "_addresses", addresses)
    system = SystemLookup()
    waiting = [asyncio.create_task(system("silent.example")) for _ in range(50)]
    await until(lambda: asked)
    assert await system("other.example") == ["8.8.8.8"]
    for task in waiting[1:]:
        task.cancel()
    await asyncio.sleep(0)
    gate.set()
    assert await waiting[0] == ["8.8.8.8"]
    assert asked == ["silent.example", "other.example"]
    assert await system("silent.example") == ["8.8.8.8"]
    assert len(asked) == 3


async def test_silent_names_are_bounded(monkeypatch):
    gate = threading.Event()
    monkeypatch.setattr(lookup, "MAX_LOOKUPS", 2)
    monkeypatch.setattr(lookup, "_addresses", lambda _: gate.wait(10) and ["8.8.8.8"])
    system = SystemLookup()
    waiting = [asyncio.create_task(system(f"{n}.example")) for n in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(socket.gaierror, match="too many"):
        await system("3.example")
    gate.set()
    assert await asyncio.gather(*waiting) == [["8.8.8.8"]] * 2
