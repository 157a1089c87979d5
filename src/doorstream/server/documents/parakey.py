"""What the document says of Parakey's lists beside what their routes say (vendor-apis.md 3.1 and 3.5)."""

from __future__ import annotations

from typing import Final

from doorstream.server.documents.notation import (
    FLAG,
    INTEGER,
    NULL,
    TEXT,
    TIME,
    Group,
    Operation,
    Operations,
    Schema,
    just,
    listed,
    maybe,
    record,
    ref,
)

_DOMAIN: Final = record({"id": TEXT})
_NAMED: Final = record({"id": TEXT, "aliasId": NULL, "name": TEXT})
_WHEN: Final[Schema] = {"anyOf": [TEXT, INTEGER, NULL]}
_CHOSEN: Final = record(
    {"id": maybe(TEXT), "aliasId": maybe(TEXT), "email": maybe(TEXT)}, optional=("id", "aliasId", "email")
)
_PERSON: Final = record({"id": TEXT, "email": maybe(TEXT), "name": maybe(TEXT)})
_OUTCOME: Final[Schema] = {
    "anyOf": [
        record({"status": just("completed"), "accessKey": ref("ParakeyAccessKey")}),
        record({"status": just("failed"), "error": record({"code": TEXT, "message": TEXT})}),
    ]
}

SCHEMAS: Final[dict[str, Schema]] = {
    "ParakeyError": record({"error": record({"code": TEXT, "message": TEXT})}),
    "ParakeyEventLog": record(
        {
            "id": TEXT,
            "domain": _DOMAIN,
            "user": maybe(_PERSON),
            "device": record({"id": maybe(TEXT), "name": maybe(TEXT)}),
            "access": NULL,
            "accessKey": NULL,
            "type": just("unlock"),
            "timestamp": TIME | {"description": "When it happened"},
            "createdAt": TIME | {"description": "When it was put into the log"},
        },
        description="An unlock. The same object in lists, by id and in webhooks.",
    ),
    "ParakeyDomain": record({"id": TEXT, "name": TEXT, "timeZone": TEXT, "createdAt": TEXT}),
    "ParakeyDevice": record({"id": TEXT, "name": TEXT, "domain": _DOMAIN, "createdAt": TEXT}),
    "ParakeyUser": record(
        {
            "id": TEXT,
            "email": maybe(TEXT),
            "name": TEXT,
            "firstName": TEXT,
            "lastName": TEXT,
            "enabled": FLAG,
            "domain": _DOMAIN,
            "createdAt": TEXT,
        }
    ),
    "ParakeyAccess": record({"id": TEXT, "aliasId": NULL, "name": TEXT, "domain": _DOMAIN}),
    "ParakeyAccessKey": record(
        {
            "id": TEXT,
            "access": _NAMED,
            "user": _PERSON,
            "domain": _DOMAIN,
            "startDate": maybe(TEXT),
            "expirationDate": maybe(TEXT),
            "aliasTag": NULL,
        }
    ),
    "ParakeyGrants": record(
        {
            "insert": listed(
                record(
                    {"access": _CHOSEN, "user": _CHOSEN, "startDate": _WHEN, "expirationDate": _WHEN},
                    optional=("startDate", "expirationDate"),
                )
            ),
            "delete": listed(
                record(
                    {"id": maybe(TEXT), "access": maybe(_CHOSEN), "user": maybe(_CHOSEN)},
                    optional=("id", "access", "user"),
                )
            ),
            "domainId": maybe(TEXT),
        },
        optional=("insert", "delete", "domainId"),
    ),
}

_ETAG: Final = {"ETag": "Send it as `If-None-Match`"}
_PAGED: Final = _ETAG | {"X-Total-Count": "Items of the whole list", "Link": "`next`, if there is more"}
_KINDS: Final = {
    "eventLogs": "ParakeyEventLog",
    "domains": "ParakeyDomain",
    "devices": "ParakeyDevice",
    "users": "ParakeyUser",
    "accesses": "ParakeyAccess",
    "access-keys": "ParakeyAccessKey",
}


def _operations() -> Operations:
    found: Operations = {}
    not_modified = {304: "Nothing has changed"}
    for path, schema in _KINDS.items():
        later = {503: "The log is not available at the moment"} if path == "eventLogs" else {}
        found["GET", f"/{path}"] = Operation(
            answer=listed(ref(schema)),
            headers=_PAGED,
            errors={400: "A parameter cannot be read"} | not_modified | later,
        )
        missing = {404: "There is no such thing"}
        found["GET", f"/{path}/{{id}}"] = Operation(
            answer=ref(schema), headers=_ETAG, errors=missing | not_modified | later
        )
    found["GET", "/batches/{id}"] = Operation(status=404, answer=ref("ParakeyError"), what="Always: none is kept")
    found["POST", "/access-keys"] = Operation(
        answer=record({"insert": listed(_OUTCOME), "delete": listed(_OUTCOME)}),
        what="What became of each item",
        body=ref("ParakeyGrants"),
        errors={400: "The body cannot be read", 413: "Too much at once", 503: "Later"},
    )
    return found


OPERATIONS: Final[Operations] = _operations()

PARAKEY: Final = Group(
    tag="parakey",
    text="The Parakey dialect: the event log to poll, and the lists beside it.",
    security=("parakeyToken", "bearer"),
    error=ref("ParakeyError"),
    errors={401: "The token is missing or not valid", 403: "The token is good for other things"},
    operations=OPERATIONS,
    schemas=SCHEMAS,
)
