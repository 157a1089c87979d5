"""The forms of deliveries that belong to no vendor."""

import json
import re
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doorstream.events import Event
from doorstream.events.event import encode_kept
from doorstream.testing import SITE, make_event
from doorstream.webhooks import forms
from doorstream.webhooks.guard import check_headers

_URL = "https://doors.example.com/"
_EPOCH = "3f9a1c07"


def _event(**changes):
    kept = {
        "id": "event-7",
        "topic": "device.request.allowed",
        "site_id": SITE,
        "occurred": 1_769_853_600_123,
        "body": {"deviceId": "door-1", "holderId": "h"},
        "cloud_node": {"id": "node", "serialNumber": "s", "name": "n"},
        "metadata": {"cause": "request"},
    }
    return Event(encode_kept(**(kept | changes)), 42, 1_769_853_601_000)


def test_native_is_the_event_as_our_api_shows_it():
    event = _event()
    payload = forms.native(_EPOCH)(event, None)
    assert payload == forms.Payload("application/json", event.public_json(_EPOCH))
    shown = json.loads(payload.body)
    assert (shown["recorded"], shown["position"]) == (1_769_853_601_000, "3f9a1c07.42")


def test_structured_cloudevents_hold_everything_in_the_body():
    payload = forms.cloudevents_structured(_URL, _EPOCH)(_event(), None)
    assert payload.content_type == "application/cloudevents+json"
    assert payload.headers == {}
    assert json.loads(payload.body) == {
        "specversion": "1.0",
        "id": "event-7",
        "source": f"https://doors.example.com/api/sites/{SITE}",
        "type": "device.request.allowed",
        "time": "2026-01-31T10:00:00.123Z",
        "subject": "door-1",
        "datacontenttype": "application/json",
        "recorded": "2026-01-31T10:00:01.000Z",
        "position": "3f9a1c07.42",
        "data": {
            "body": {"deviceId": "door-1", "holderId": "h"},
            "cloudNode": {"id": "node", "serialNumber": "s", "name": "n"},
            "metadata": {"cause": "request"},
        },
    }


def test_binary_cloudevents_say_the_same_in_headers():
    structured = json.loads(forms.cloudevents_structured(_URL, _EPOCH)(_event(), None).body)
    payload = forms.cloudevents_binary(_URL, _EPOCH)(_event(), None)
    assert json.loads(payload.body) == structured.pop("data")
    assert payload.content_type == structured.pop("datacontenttype")
    assert payload.headers == {f"ce-{name}": value for name, value in structured.items()}


def test_attribute_names_are_lower_case_letters_and_digits():
    """CloudEvents 1.0.2, naming conventions."""
    for name in forms.cloudevents_binary(_URL, _EPOCH)(_event(), None).headers:
        assert re.fullmatch(r"ce-[a-z0-9]{1,20}", name)


def test_the_example_of_the_http_binding():
    """HTTP binding 3.1.3.2: ``Euro € 😀``."""
    payload = forms.cloudevents_binary(_URL, _EPOCH)(_event(body={"deviceId": "Euro € 😀"}), None)
    assert payload.headers["ce-subject"] == "Euro%20%E2%82%AC%20%F0%9F%98%80"


def test_space_quote_and_percent_are_encoded_and_nothing_else_of_ascii():
    everything = "".join(map(chr, range(0x20, 0x7F)))
    payload = forms.cloudevents_binary(_URL, _EPOCH)(_event(body={"deviceId": everything}), None)
    expected = everything.replace("%", "%25").replace(" ", "%20").replace('"', "%22")
    assert payload.headers["ce-subject"] == expected


@given(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    st.integers(-62_135_596_800_000, 253_402_300_799_999),
)
def test_headers_can_always_be_sent_and_be_read_back(device_id, occurred):
    event = _event(body={"deviceId": device_id}, occurred=occurred)
    payload = forms.cloudevents_binary(_URL, _EPOCH)(event, None)
    check_headers(payload.headers)
    if "ce-subject" in payload.headers:
        assert unquote(payload.headers["ce-subject"], errors="strict") == device_id
    assert json.loads(forms.cloudevents_structured(_URL, _EPOCH)(event, None).body)["data"]["body"]


@pytest.mark.parametrize(
    "body",
    [{}, {"deviceId": None}, {"deviceId": 7}, {"deviceId": ""}, {"deviceId": ["a"]}, {"deviceId": "a\r\nb"}, [1]],
)
def test_without_a_device_there_is_no_subject(body):
    """A topic of a driver's own may have anything there."""
    for form in (forms.cloudevents_structured(_URL, _EPOCH), forms.cloudevents_binary(_URL, _EPOCH)):
        payload = form(make_event(1, body=body), None)
        assert "ce-subject" not in payload.headers
        assert b'"subject"' not in payload.body
