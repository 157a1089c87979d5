"""Signatures: published vectors, the reference library as an oracle, rotation, and what is refused."""

import base64
import hashlib
import hmac
import time

import pytest
import standardwebhooks
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import example, given
from hypothesis import strategies as st

from doorstream.webhooks import signing

# The vectors that the test suites of the scheme's makers share.
_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
_PRIVATE = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
_PUBLIC = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="
_ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
_TIME = 1_614_265_330
_BODY = b'{"test": 2432232314}'
_V1 = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
_V1A = "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="


def _verify_v1a(public: str, headers: dict[str, str], body: bytes) -> None:
    """What a receiver with the public key does; raises InvalidSignature."""
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public.removeprefix("whpk_")))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    versions = dict(part.split(",", 1) for part in headers["webhook-signature"].split(" "))
    key.verify(base64.b64decode(versions["v1a"]), signed)


def test_v1_is_the_published_vector():
    assert signing.sign([_SECRET], _ID, _TIME, _BODY) == _V1


def test_v1_is_what_the_specification_says():
    """The vector recomputed from the text of the specification, without our code."""
    key = base64.b64decode(_SECRET.removeprefix("whsec_"))
    digest = hmac.new(key, f"{_ID}.{_TIME}.".encode() + _BODY, hashlib.sha256).digest()
    assert "v1," + base64.b64encode(digest).decode() == _V1


def test_v1a_is_the_published_vector():
    assert signing.sign([_PRIVATE], _ID, _TIME, _BODY) == _V1A
    assert signing.public_key(_PRIVATE) == _PUBLIC


def test_v1a_of_a_seed_alone_is_the_same():
    """Some write the private key as its seed of 32 bytes."""
    seed = base64.b64encode(base64.b64decode(_PRIVATE.removeprefix("whsk_"))[:32]).decode()
    assert signing.sign(["whsk_" + seed], _ID, _TIME, _BODY) == _V1A


def test_the_reference_library_verifies():
    secret = signing.new_secret()
    body = '{"name":"Tür 3"}'.encode()
    headers = signing.headers([secret], "msg_1", int(time.time()), body)
    assert standardwebhooks.Webhook(secret).verify(body, headers) == {"name": "Tür 3"}


def test_the_reference_library_refuses_another_body():
    """The oracle can say no."""
    secret = signing.new_secret()
    headers = signing.headers([secret], "msg_1", int(time.time()), b'{"a":1}')
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(secret).verify(b'{"a":2}', headers)


def test_in_a_rotation_the_receiver_may_have_either_secret():
    old, new = signing.new_secret(), signing.new_secret()
    private, _ = signing.new_key_pair()
    headers = signing.headers([new, private, old], "msg_1", int(time.time()), b"{}")
    assert [part.split(",")[0] for part in headers["webhook-signature"].split(" ")] == ["v1", "v1a", "v1"]
    for secret in (old, new):
        standardwebhooks.Webhook(secret).verify(b"{}", headers)
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(signing.new_secret()).verify(b"{}", headers)


def test_a_new_key_pair_signs_and_verifies():
    private, public = signing.new_key_pair()
    headers = signing.headers([private], "msg_1", 5, b"body")
    _verify_v1a(public, headers, b"body")
    with pytest.raises(InvalidSignature):
        _verify_v1a(public, headers, b"another")
    assert signing.public_key(private) == public


def test_new_secrets_are_long_and_never_the_same():
    secrets = {signing.new_secret() for _ in range(100)}
    assert len(secrets) == 100
    assert {len(base64.b64decode(secret.removeprefix("whsec_"))) for secret in secrets} == {32}


def test_the_headers_have_the_names_of_the_specification():
    headers = signing.headers([_SECRET], _ID, _TIME, _BODY)
    assert headers == {"webhook-id": _ID, "webhook-timestamp": str(_TIME), "webhook-signature": _V1}


def test_an_id_with_a_full_stop_is_refused():
    """It would let one message pass for another: ``a.1`` at time 2 is ``a`` at time ``1.2``."""
    with pytest.raises(ValueError, match="full stop"):
        signing.sign([_SECRET], "a.1", 2, b"")


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1))
@example("a%2Eb")
@example("a.b%25")
def test_message_ids_have_no_full_stop_and_stay_different(text):
    made = signing.message_id(text)
    assert "." not in made
    assert made.replace("%2E", ".").replace("%25", "%") == text


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_",
        "whsec_c2hvcnQ=",
        "whsec_" + base64.b64encode(b"x" * 65).decode(),
        "whsec_not base64 at all, not at all",
        "whsk_" + base64.b64encode(b"x" * 33).decode(),
        "whsk_" + base64.b64encode(b"x" * 64).decode(),
        _PUBLIC,
    ],
)
def test_what_cannot_sign_is_refused_without_telling_it(secret):
    with pytest.raises(signing.BadSecret) as refusal:
        signing.check_secret(secret)
    assert len(secret) < 8 or secret not in str(refusal.value)


@pytest.mark.parametrize("secret", [_SECRET, _PRIVATE, "whsec_" + base64.b64encode(b"x" * 64).decode()])
def test_what_can_sign_is_accepted(secret):
    signing.check_secret(secret)


def test_pdk_is_hex_hmac_sha1_of_the_body():
    """RFC 2202, test case 2."""
    assert signing.pdk_signature("Jefe", b"what do ya want for nothing?") == "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"
