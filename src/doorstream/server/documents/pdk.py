"""What the document says of PDK's REST, its tokens and its polling transport (vendor-apis.md 1.1 to 1.6)."""

from __future__ import annotations

from typing import Any, Final

from doorstream.server.documents.notation import (
    ANY,
    COUNT,
    FLAG,
    INTEGER,
    NULL,
    OBJECT,
    TEXT,
    TEXT_PLAIN,
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
)

_LIMITED: Final = {
    "X-RateLimit-Limit": "Requests that may come at once",
    "X-RateLimit-Remaining": "How many are left now",
    "X-RateLimit-Reset": "When all are again, in unix seconds",
}
_PAGED: Final = {"X-Total-Count": "Items of the whole list", "Link": "`first`, `prev`, `next`, `last` (RFC 8288)"}
_PAGE: Final = {
    "page": Parameter("The page, from 0", COUNT),
    "per_page": Parameter("Items of a page; more than 100 are 100", INTEGER | {"minimum": 1}),
    "sort": Parameter("The order", one_of(("asc", "desc"))),
}
_ACCOUNTS: Final = ("pdkIdToken",)

_SYSTEM: Final[dict[str, Schema]] = {
    "id": TEXT,
    "name": TEXT,
    "uri": TEXT | {"description": "Where its API lives"},
    "description": maybe(TEXT),
    "created": TEXT,
}
_NOT_KEPT: Final = NULL | {"description": "Not kept here"}

_SCHEMAS: Final[dict[str, Schema]] = {
    "PdkError": record({"statusCode": INTEGER, "error": TEXT, "message": TEXT}),
    "PdkAccountSystem": record(_SYSTEM),
    "PdkSystem": record(
        _SYSTEM,
        {
            "ouId": _NOT_KEPT,
            "reportingPlan": TEXT,
            "credentialSelfHelp": record({"enabled": FLAG, "monthlyLimit": COUNT}),
            "cloudNodes": listed(
                record(
                    {"id": TEXT, "name": TEXT, "description": maybe(TEXT), "created": TEXT, "serialNumber": maybe(TEXT)}
                )
            ),
            "locale": TEXT,
            "timezone": TEXT,
            "cardFormat": _NOT_KEPT,
            "offlinePolicy": COUNT,
            "killTimer": COUNT,
            "syncStatus": record({"synced": FLAG, "details": record({"timestamp": TEXT})}),
        },
    ),
    "PdkCloudNode": record(
        {
            "id": TEXT,
            "name": TEXT,
            "description": maybe(TEXT),
            "created": TEXT,
            "serialNumber": maybe(TEXT),
            "ecards": listed(ANY),
            "offlinePolicy": COUNT,
            "killTimer": COUNT,
            "timezone": TEXT,
            "locale": TEXT,
            "cardFormat": listed(OBJECT),
            "syncStatus": record(
                {"synced": FLAG, "details": record({"timestamp": TEXT, "dataFlowStatus": maybe(TEXT)})}
            ),
            "connectionStatus": record({"connected": FLAG, "details": record({"timestamp": maybe(TEXT)})}),
        }
    ),
    "PdkConnection": record(
        {
            "id": TEXT,
            "name": TEXT,
            "type": TEXT,
            "connected": FLAG,
            "protocol": TEXT,
            "ipaddress": _NOT_KEPT,
            "ipv6Address": _NOT_KEPT,
            "port": _NOT_KEPT,
            "dhcp": FLAG,
            "netmask": _NOT_KEPT,
            "gateway": _NOT_KEPT,
            "dns": _NOT_KEPT,
            "macAddress": _NOT_KEPT,
            "manufacturer": TEXT,
        }
    ),
    "PdkDevice": record(
        {
            "id": TEXT,
            "name": TEXT,
            "connection": maybe(record({"id": TEXT, "name": TEXT, "type": TEXT})),
            "port": maybe(INTEGER),
            "partition": listed(ANY),
            "type": TEXT,
            "publicIcon": _NOT_KEPT,
            "inputTypes": listed(ANY),
            "osdpAddress": _NOT_KEPT,
            "readerType": maybe(TEXT),
            "readerSerialNumber": _NOT_KEPT,
            "supportBleCredentials": FLAG,
            "securedReadsOnly": FLAG,
            "delay": COUNT,
            "dwell": COUNT,
            "dps": FLAG,
            "propAlarm": FLAG,
            "propDelay": COUNT,
            "rex": FLAG,
            "forcedAlarm": FLAG,
            "autoOpenAfterFirstAllow": FLAG,
            "hardwareVersion": maybe(TEXT),
            "serialNumber": maybe(TEXT),
            "firmwareVersion": maybe(TEXT),
            "created": TEXT,
        }
    ),
    "PdkCredential": record(
        {
            "id": TEXT,
            "holderId": TEXT,
            "credentialNumber": maybe(INTEGER),
            "facilityCode": maybe(INTEGER),
            "description": maybe(TEXT),
            "types": listed(TEXT),
        }
    ),
    "PdkHolder": record(
        {
            "id": TEXT,
            "firstName": TEXT,
            "lastName": TEXT,
            "email": maybe(TEXT),
            "photoUrl": _NOT_KEPT,
            "partition": _NOT_KEPT,
            "enabled": FLAG,
            "activeDate": maybe(TEXT),
            "expireDate": maybe(TEXT),
            "pin": NULL | {"description": "Never shown"},
            "duressPin": NULL | {"description": "Never shown"},
            "customFields": listed(ANY),
            "groups": listed(record({"id": TEXT, "name": TEXT, "partition": _NOT_KEPT})),
            "credentials": listed(ref("PdkCredential")),
        }
    ),
    "PdkSubscription": record(
        {
            "id": TEXT,
            "name": TEXT,
            "url": TEXT,
            "scope": {"anyOf": [TEXT, listed(TEXT)]},
            "authentication": record({"type": one_of(("None", "Basic")), "user": maybe(TEXT), "password": NULL}),
            "events": listed(TEXT),
            "active": FLAG,
            "sslVerification": FLAG,
            "secrecyLevel": one_of((0, 1, 2)),
            "expiresAt": maybe(TEXT),
            "userId": maybe(TEXT),
            "odometer": COUNT,
            "secret": maybe(TEXT) | {"description": "In the answer to the creation only"},
        }
    ),
    "PdkSubscriptionForm": record(
        {
            "url": TEXT,
            "name": TEXT,
            "scope": {"anyOf": [TEXT, listed(TEXT)]},
            "authentication": maybe(
                record(
                    {"type": one_of(("None", "Basic")), "user": maybe(TEXT), "password": maybe(TEXT)},
                    optional=("user", "password"),
                )
            ),
            "events": listed(TEXT),
            "active": FLAG,
            "sslVerification": FLAG,
            "secrecyLevel": one_of((0, 1, 2)),
            "expiresAt": maybe(TEXT),
            "secret": maybe(TEXT),
        },
        optional=(
            "name",
            "scope",
            "authentication",
            "events",
            "active",
            "sslVerification",
            "secrecyLevel",
            "expiresAt",
            "secret",
        ),
    ),
    "EngineError": record({"code": one_of((0, 1, 2, 3, 5)), "message": TEXT}),
}


def _one(schema: str, security: tuple[str, ...] | None = None, **more: Any) -> Operation:
    return Operation(answer=ref(schema), headers=_LIMITED, security=security, **more)


def _list(schema: str, security: tuple[str, ...] | None = None, **query: Parameter) -> Operation:
    return Operation(answer=listed(ref(schema)), headers=_LIMITED | _PAGED, security=security, query=_PAGE | query)


_NODE: Final = "/{system_id}/cloud-nodes/{cloud_node_id}"
_SUBSCRIPTIONS: Final = "/api/organizations/{organization_id}/subscriptions"
_ENGINE: Final = {
    "EIO": Parameter("The version of Engine.IO", one_of(("3", "4")), required=True),
    "transport": Parameter(
        "`websocket` is an upgrade; see the AsyncAPI document", one_of(("polling", "websocket")), required=True
    ),
    "sid": Parameter("The session, as its first packet names it"),
    "token": Parameter("The system token; with the first request"),
    "systemId": Parameter("The system; the token names it if this is missing"),
    "recovery": Parameter("Whether recovery is wanted, whatever the client looks like", one_of(("0", "1"))),
}
_POLL_ERRORS: Final = {400: "Not a request of Engine.IO"}

OPERATIONS: Final[Operations] = {
    ("POST", "/api/systems/{system_id}/token"): Operation(
        answer=record({"token": TEXT}), headers=_LIMITED, security=_ACCOUNTS
    ),
    ("GET", "/api/systems"): _list("PdkAccountSystem", _ACCOUNTS),
    ("GET", "/api/systems/{system_id}"): _one("PdkAccountSystem", _ACCOUNTS),
    ("GET", "/{system_id}"): _one("PdkSystem"),
    ("GET", "/{system_id}/cloud-nodes"): _list("PdkCloudNode"),
    ("GET", _NODE): _one("PdkCloudNode"),
    ("GET", f"{_NODE}/connections"): _list("PdkConnection"),
    ("GET", f"{_NODE}/devices"): _list("PdkDevice"),
    ("GET", "/{system_id}/devices"): _list("PdkDevice"),
    ("GET", "/{system_id}/devices/{device_id}"): _one("PdkDevice"),
    ("GET", "/{system_id}/holders"): _list(
        "PdkHolder",
        search=Parameter("Only those in whose fields this stands, in any case"),
        search_fields=Parameter("In which fields, separated by commas: firstName, lastName, email"),
    ),
    ("GET", "/{system_id}/holders/{holder_id}"): _one("PdkHolder"),
    ("GET", "/{system_id}/holders/{holder_id}/credentials"): _list("PdkCredential"),
    ("GET", _SUBSCRIPTIONS): Operation(answer=listed(ref("PdkSubscription")), headers=_LIMITED, security=_ACCOUNTS),
    ("POST", _SUBSCRIPTIONS): _one("PdkSubscription", _ACCOUNTS, status=201, body=ref("PdkSubscriptionForm")),
    ("GET", f"{_SUBSCRIPTIONS}/{{subscription_id}}"): _one("PdkSubscription", _ACCOUNTS),
    ("DELETE", f"{_SUBSCRIPTIONS}/{{subscription_id}}"): Operation(status=204, headers=_LIMITED, security=_ACCOUNTS),
}

PDK: Final = Group(
    tag="pdk",
    text="The PDK dialect, read only: systems and what is in them, tokens, and webhook subscriptions.",
    security=("pdkSystemToken",),
    error=ref("PdkError"),
    errors={
        400: "Not a request that can be answered",
        401: "The token is missing, invalid or expired",
        403: "Not for this caller",
        404: "There is no such thing",
        429: "Too many requests",
    },
    operations=OPERATIONS,
    schemas=_SCHEMAS,
)

SOCKET_IO: Final = Group(
    tag="pdk",
    text="",
    security=(),
    error=ref("EngineError"),
    errors={},
    operations={
        ("GET", "/socket.io/"): Operation(
            summary="Poll the stream (Engine.IO)",
            description="Opens a session, or waits for its next packets. The AsyncAPI document says what they hold.",
            answer=TEXT,
            media=TEXT_PLAIN,
            what="Packets of Engine.IO",
            query=_ENGINE,
            errors=_POLL_ERRORS,
        ),
        ("POST", "/socket.io/"): Operation(
            summary="Send packets to the stream (Engine.IO)",
            description="Packets for the session that `sid` names.",
            answer=just("ok"),
            media=TEXT_PLAIN,
            body=TEXT,
            body_media=TEXT_PLAIN,
            query=_ENGINE,
            errors=_POLL_ERRORS | {408: "The body came too slowly", 413: "The body is too large"},
        ),
    },
)
"""The routes of the polling transport, which are no routes of the framework's."""
