"""What the document says of Salto KS's REST and of the negotiation of its hubs (vendor-apis.md 4.2 to 4.7)."""

from __future__ import annotations

from typing import Final

from doorstream.dialects.salto.messages import EntryObject
from doorstream.dialects.salto.paging import MOST
from doorstream.dialects.salto.rest import CONTINUATION
from doorstream.dialects.salto.rights import SITE_ADMIN, SITE_SUPER_USER, SITE_USER
from doorstream.server.documents.notation import (
    COUNT,
    FLAG,
    INTEGER,
    NULL,
    TEXT,
    Group,
    Operation,
    Operations,
    Parameter,
    Schema,
    just,
    listed,
    maybe,
    one_of,
    record,
    ref,
    structs,
)

_TOP: Final = Parameter(f"Items of a page; more than {MOST} are {MOST}", INTEGER | {"minimum": 1})
_PAGE: Final = {"$top": _TOP, "$skip": Parameter("Items that are left out", COUNT)}
_EVENTS: Final = {
    "$top": _TOP,
    "$orderby": Parameter("`utc_date_time` or `local_date_time`, then `asc` or `desc`"),
    "$filter": Parameter("Times: `utc_date_time ge DateTime'2026-01-31T10:00:00Z'`, several with `and`"),
}
_PERSON: Final = record(
    {"id": maybe(TEXT), "first_name": maybe(TEXT), "last_name": maybe(TEXT), "email": maybe(TEXT), "alias": NULL}
)

_SCHEMAS: Final[dict[str, Schema]] = {
    "SaltoError": record({"ErrorCode": INTEGER, "Message": TEXT}),
    "SaltoEntry": structs(EntryObject)[EntryObject.__name__],
    "SaltoSite": record(
        {
            "id": TEXT,
            "customer_reference": TEXT,
            "description": maybe(TEXT),
            "time_zone": TEXT,
            "locale": TEXT,
            "created": TEXT,
        }
    ),
    "SaltoMember": record(
        {
            "id": maybe(TEXT),
            "user": _PERSON,
            "blocked": FLAG,
            "roles": listed(record({"code": one_of((SITE_ADMIN, SITE_SUPER_USER, SITE_USER))})),
        }
    ),
    "SaltoLock": record(
        {
            "id": TEXT,
            "customer_reference": TEXT,
            "lock_type": TEXT,
            "locked_state": just("uncertain"),
            "online": FLAG,
            "battery_level": NULL,
            "mac_address": NULL,
            "iq_id": maybe(TEXT),
            "iq_link_state": one_of(("attached", "detached")),
            "left_open_alarm": FLAG,
            "intrusion_alarm": FLAG,
            "privacy_mode": FLAG,
        }
    ),
    "SignalRNegotiation": record(
        {
            "negotiateVersion": one_of((0, 1)),
            "connectionId": TEXT,
            "connectionToken": TEXT | {"description": "`id` of the WebSocket, with negotiateVersion 1"},
            "availableTransports": listed(record({"transport": just("WebSockets"), "transferFormats": listed(TEXT)})),
            "useStatefulReconnect": FLAG,
        },
        optional=("connectionToken", "useStatefulReconnect"),
    ),
}


def _page(schema: str) -> Operation:
    items = record({"items": listed(ref(schema)), "next_page_link": maybe(TEXT), "count": COUNT})
    return Operation(answer=items, query=_PAGE)


_LOGGED: Final = Operation(
    answer=record({"items": listed(ref("SaltoEntry")), "continuation_token": maybe(TEXT)}),
    query=_EVENTS,
    request_headers={CONTINUATION: Parameter("`continuation_token` of the page before")},
)


def _negotiation(hub: str) -> Operation:
    return Operation(
        summary=f"Negotiate a connection to the hub of {hub}",
        description="The first step of SignalR's clients; the hub itself is in the AsyncAPI document.",
        answer=ref("SignalRNegotiation"),
        query={
            "site_id": Parameter("The site", required=True),
            "user_id": Parameter("Only what is this user's; who is a site user has to name itself"),
            "since": Parameter("Go on after the entry with this id"),
            "negotiateVersion": Parameter("The version of the negotiation", one_of(("0", "1"))),
            "useStatefulReconnect": Parameter("Whether stateful reconnect is wanted", one_of(("true", "false"))),
            "access_token": Parameter("The token, where no header can be sent"),
        },
        errors={503: "Later"},
    )


OPERATIONS: Final[Operations] = {
    ("GET", "/v1.1/sites/{site_id}/entries"): _LOGGED,
    ("GET", "/v1.1/sites/{site_id}/incidents"): _LOGGED,
    ("GET", "/v1.2/sites"): _page("SaltoSite"),
    ("GET", "/v1.2/sites/{site_id}"): Operation(answer=ref("SaltoSite")),
    ("GET", "/v1.2/sites/{site_id}/me"): Operation(answer=ref("SaltoMember")),
    ("GET", "/v1.2/sites/{site_id}/locks"): _page("SaltoLock"),
    ("GET", "/v1.2/sites/{site_id}/users"): _page("SaltoMember"),
    ("POST", "/v1/hub/entries/negotiate"): _negotiation("entries"),
    ("POST", "/v1/hub/incidents/negotiate"): _negotiation("incidents"),
}

SALTO: Final = Group(
    tag="salto",
    text="The Salto KS dialect, read only: entries, incidents, sites, locks and users.",
    security=("saltoToken",),
    error=ref("SaltoError"),
    errors={
        400: "A parameter cannot be read",
        401: "The token is missing, invalid or expired",
        403: "Not for this caller",
        503: "The log is not available at the moment",
    },
    operations=OPERATIONS,
    schemas=_SCHEMAS,
)
