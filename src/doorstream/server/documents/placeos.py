"""What the document says of PlaceOS's REST and of signing in (vendor-apis.md 2.1, 2.3 and 2.4)."""

from __future__ import annotations

from typing import Any, Final

from doorstream.dialects.placeos.paging import MAX_LIMIT
from doorstream.events.entities import System, SystemFields, Zone, ZoneFields
from doorstream.server.documents.identity import OAUTH_ERROR
from doorstream.server.documents.notation import (
    ANY,
    COUNT,
    FLAG,
    FORM,
    HTML,
    INTEGER,
    NULL,
    OBJECT,
    TEXT,
    Group,
    Operation,
    Operations,
    Parameter,
    Schema,
    just,
    listed,
    mapped,
    maybe,
    one_of,
    record,
    ref,
    structs,
)

_API: Final = "/api/engine/v2"
_SYSTEM: Final = f"{_API}/systems/{{system_id}}"
_MODULE: Final = f"{_API}/modules/{{module_id}}"
_ZONE: Final = f"{_API}/zones/{{zone_id}}"

_SECONDS: Final = INTEGER | {"description": "Seconds since 1970"}
_STAMPS: Final = {"created_at": _SECONDS, "updated_at": _SECONDS}
_ARGUMENTS: Final = listed(ANY) | {"description": "The arguments in their order"}
_BOOLEAN: Final = one_of(("true", "false", "1", "0"))
_PAGE: Final = {
    "q": Parameter("Only those in whose name words begin like this; `*` for all"),
    "limit": Parameter(f"How many to show, at most {MAX_LIMIT}", COUNT),
    "offset": Parameter("How many to leave out", COUNT),
}
_COUNTED: Final = {
    "X-Total-Count": "Items of the whole list",
    "Content-Range": "Which of them these are",
    "Link": "`next`, if there is more",
}
_VERSION: Final = {"version": Parameter("The version that is changed", COUNT, required=True)}


def _stored(entity: type[Any], **more: Schema) -> Schema:
    """A stored entity as REST shows it."""
    members = dict(structs(entity)[entity.__name__]["properties"])
    for name in ("site_id", "created", "updated"):
        del members[name]
    return record(members, _STAMPS, more)


_SHOWN_DRIVER: Final = record({"name": TEXT, "description": TEXT, "module_name": TEXT})
_MODULE_MEMBERS: Final[dict[str, Schema]] = {
    "id": TEXT,
    "name": TEXT,
    "custom_name": maybe(TEXT),
    "driver_id": TEXT,
    "control_system_id": maybe(TEXT),
    "role": one_of((1, 99)),
    "ip": TEXT,
    "port": COUNT,
    "tls": FLAG,
    "udp": FLAG,
    "makebreak": FLAG,
    "uri": TEXT,
    "connected": FLAG,
    "running": FLAG,
    "notes": TEXT,
    "ignore_connected": FLAG,
    "ignore_startstop": FLAG,
    "has_runtime_error": FLAG,
    "error_timestamp": maybe(_SECONDS),
    "launch_on_execute": FLAG,
    "edge_id": NULL,
    "core_node": NULL,
    "driver": _SHOWN_DRIVER,
}
_MODULE_FORM: Final = record(
    {
        "name": TEXT,
        "custom_name": TEXT,
        "notes": TEXT,
        "running": FLAG,
        "settings": OBJECT,
        "driver_id": TEXT,
        "control_system_id": TEXT,
        "device_id": TEXT,
    },
    optional=("name", "custom_name", "notes", "running", "settings", "driver_id", "control_system_id", "device_id"),
)

_TOKEN_FIELDS: Final = (
    "username",
    "password",
    "client_id",
    "client_secret",
    "scope",
    "code",
    "code_verifier",
    "redirect_uri",
    "refresh_token",
)

_SCHEMAS: Final[dict[str, Schema]] = {
    "PlaceError": {
        "type": "object",
        "properties": {
            "error": TEXT,
            "failures": listed(record({"field": TEXT, "reason": TEXT})),
            "parameter": TEXT,
            "restriction": TEXT,
            "accepts": listed(TEXT),
        },
        "required": ["error"],
    },
    "PlaceSystem": _stored(System, playlists=listed(ANY)),
    "PlaceZone": _stored(Zone),
    "PlaceModule": record(_MODULE_MEMBERS, _STAMPS),
    "PlaceDriver": record(
        {
            "id": TEXT,
            "name": TEXT,
            "description": TEXT,
            "module_name": TEXT,
            "role": INTEGER,
            "json_schema": OBJECT,
            "default_uri": NULL,
            "default_port": NULL,
            "file_name": TEXT,
            "class_name": TEXT,
            "implements": listed(TEXT),
            "commit": TEXT,
            "compilation_output": maybe(TEXT),
        }
    ),
    "PlaceSettings": record(
        {
            "id": TEXT,
            "parent_id": TEXT,
            "encryption_level": COUNT,
            "settings_string": TEXT,
            "keys": listed(TEXT),
        },
        _STAMPS,
    ),
    "PlaceFunctions": mapped(record({"arity": COUNT, "params": OBJECT, "order": listed(TEXT), "doc": TEXT})),
    "PlaceSystemForm": structs(SystemFields, complete=False)[SystemFields.__name__],
    "PlaceZoneForm": structs(ZoneFields, complete=False)[ZoneFields.__name__],
    "PlaceModuleForm": _MODULE_FORM,
    "PlaceTokenForm": record(
        {"grant_type": one_of(("password", "authorization_code", "refresh_token", "client_credentials"))},
        dict.fromkeys(_TOKEN_FIELDS, TEXT),
        optional=_TOKEN_FIELDS,
    ),
    "PlaceOAuthError": OAUTH_ERROR,
}


def _list(schema: str, **query: Parameter) -> Operation:
    return Operation(answer=listed(ref(schema)), headers=_COUNTED, query=_PAGE | query)


_ONE_SYSTEM: Final = Operation(answer=ref("PlaceSystem"))
_CHANGE_SYSTEM: Final = Operation(answer=ref("PlaceSystem"), body=ref("PlaceSystemForm"), query=_VERSION)
_CHANGE_ZONE: Final = Operation(answer=ref("PlaceZone"), body=ref("PlaceZoneForm"), query=_VERSION)
_CHANGE_MODULE: Final = Operation(answer=ref("PlaceModule"), body=ref("PlaceModuleForm"))
_DONE: Final = Operation(what="Done")
_TAKEN: Final = Operation(status=202, what="Done")
_NO_METADATA: Final = Operation(answer=record())
_COUNTS: Final = Operation(answer=mapped(COUNT), query={"module": Parameter("Only this name: the answer is `{count}`")})
_STATE: Final = Operation(answer=mapped(TEXT), what="Each variable as the text of its JSON")
_VARIABLE: Final = Operation(answer=ANY, what="The value; null for one that is not there")
_RUN: Final = Operation(answer=ANY, body=_ARGUMENTS, what="What the function returned", errors={500: "It failed"})

_SYSTEMS: Final[Operations] = {
    ("GET", f"{_API}/systems"): _list(
        "PlaceSystem",
        bookable=Parameter("Only those that are, or are not", _BOOLEAN),
        public=Parameter("Only those that are, or are not", _BOOLEAN),
        signage=Parameter("Only those that are, or are not", _BOOLEAN),
        capacity=Parameter("Only those for at least so many", COUNT),
        email=Parameter("Only those with one of these addresses, separated by commas"),
        features=Parameter("Only those with all of these, separated by commas"),
        module_id=Parameter("Only those with this module"),
        zone_id=Parameter("Only those in this zone"),
        trigger_id=Parameter("Only those with this trigger: there are none"),
    ),
    ("POST", f"{_API}/systems"): Operation(answer=ref("PlaceSystem"), status=201, body=ref("PlaceSystemForm")),
    ("GET", f"{_API}/systems/control"): Operation(
        status=426, answer=ref("PlaceError"), what="Always: the AsyncAPI document has the WebSocket"
    ),
    ("GET", f"{_API}/systems/with_emails"): Operation(
        answer=listed(ref("PlaceSystem")),
        headers=_COUNTED,
        query={"in": Parameter("The addresses, separated by commas", required=True)},
    ),
    ("GET", _SYSTEM): Operation(
        answer={
            "anyOf": [
                ref("PlaceSystem"),
                {
                    "allOf": [
                        ref("PlaceSystem"),
                        record({"zone_data": listed(ref("PlaceZone")), "module_data": listed(ref("PlaceModule"))}),
                    ]
                },
            ]
        },
        query={"complete": Parameter("With its zones and modules", _BOOLEAN)},
    ),
    ("PATCH", _SYSTEM): _CHANGE_SYSTEM,
    ("PUT", _SYSTEM): _CHANGE_SYSTEM,
    ("DELETE", _SYSTEM): _TAKEN,
    ("GET", f"{_SYSTEM}/zones"): Operation(answer=listed(ref("PlaceZone")), headers=_COUNTED),
    ("GET", f"{_SYSTEM}/metadata"): _NO_METADATA,
    ("GET", f"{_SYSTEM}/settings"): Operation(answer=listed(ref("PlaceSettings"))),
    ("PUT", f"{_SYSTEM}/module/{{module_id}}"): _ONE_SYSTEM,
    ("DELETE", f"{_SYSTEM}/module/{{module_id}}"): Operation(answer=ref("PlaceSystem"), status=202),
    ("POST", f"{_SYSTEM}/start"): _DONE,
    ("POST", f"{_SYSTEM}/stop"): _DONE,
    ("GET", f"{_SYSTEM}/types"): _COUNTS,
    ("GET", f"{_SYSTEM}/count"): _COUNTS,
    ("GET", f"{_SYSTEM}/functions/{{slug}}"): Operation(answer=ref("PlaceFunctions")),
    ("GET", f"{_SYSTEM}/{{slug}}"): _STATE,
    ("GET", f"{_SYSTEM}/{{slug}}/{{key}}"): _VARIABLE,
    ("POST", f"{_SYSTEM}/{{slug}}/{{method}}"): _RUN,
}
_ZONES: Final[Operations] = {
    ("GET", f"{_API}/zones"): _list(
        "PlaceZone",
        parent_id=Parameter("Only those in this zone; `root` for those in none"),
        tags=Parameter("Only those with all of these, separated by commas"),
    ),
    ("POST", f"{_API}/zones"): Operation(answer=ref("PlaceZone"), status=201, body=ref("PlaceZoneForm")),
    ("GET", _ZONE): Operation(answer=ref("PlaceZone")),
    ("PATCH", _ZONE): _CHANGE_ZONE,
    ("PUT", _ZONE): _CHANGE_ZONE,
    ("DELETE", _ZONE): _TAKEN,
    ("GET", f"{_ZONE}/metadata"): _NO_METADATA,
    ("POST", f"{_ZONE}/exec/{{method}}/{{slug}}"): Operation(
        answer=record({name: listed(TEXT) for name in ("success", "failure", "module_missing")}),
        body=_ARGUMENTS,
        what="The ids of systems by what became of it there",
    ),
}
_MODULES: Final[Operations] = {
    ("GET", f"{_API}/modules"): _list(
        "PlaceModule",
        control_system_id=Parameter("Those of this system, all and in its order"),
        driver_id=Parameter("Only those of this driver"),
        no_logic=Parameter("Only those with a device of their own", _BOOLEAN),
        connected=Parameter("Only those that are, or are not", _BOOLEAN),
        running=Parameter("Only those that are, or are not", _BOOLEAN),
        as_of=Parameter("Only those that were not changed after this time (unix seconds)", COUNT),
    ),
    ("POST", f"{_API}/modules"): Operation(answer=ref("PlaceModule"), status=201, body=ref("PlaceModuleForm")),
    ("GET", _MODULE): Operation(answer=ref("PlaceModule")),
    ("PATCH", _MODULE): _CHANGE_MODULE,
    ("PUT", _MODULE): _CHANGE_MODULE,
    ("DELETE", _MODULE): _TAKEN,
    ("GET", f"{_MODULE}/state"): _STATE,
    ("GET", f"{_MODULE}/state/{{key}}"): _VARIABLE,
    ("GET", f"{_MODULE}/settings"): Operation(answer=listed(ref("PlaceSettings"))),
    ("GET", f"{_MODULE}/error"): Operation(answer=listed(TEXT)),
    ("POST", f"{_MODULE}/exec/{{method}}"): _RUN,
    ("POST", f"{_MODULE}/ping"): Operation(
        answer=record({"host": TEXT, "pingable": FLAG, "warning": maybe(TEXT), "exception": maybe(TEXT)}),
        errors={406: "It has no device of its own"},
    ),
    ("POST", f"{_MODULE}/load"): Operation(answer=just(value=True)),
    ("POST", f"{_MODULE}/start"): _DONE,
    ("POST", f"{_MODULE}/stop"): _DONE,
    ("GET", f"{_API}/drivers"): _list("PlaceDriver"),
    ("GET", f"{_API}/drivers/{{driver_id}}"): Operation(answer=ref("PlaceDriver")),
    ("POST", f"{_API}/drivers/{{driver_id}}/reload"): _DONE,
}

PLACEOS: Final = Group(
    tag="placeos",
    text="The PlaceOS dialect: systems, zones, modules and drivers.",
    security=("key", "bearer"),
    error=ref("PlaceError"),
    errors={
        400: "Not a request that can be understood",
        401: "The credential is missing or not valid",
        403: "Not for this caller; answered with nothing",
        404: "There is no such thing",
        409: "Another version, or somebody else is changing it",
        422: "Values that cannot be kept, or a parameter that cannot be read",
        503: "Not available at the moment",
    },
    operations=_SYSTEMS | _ZONES | _MODULES,
    schemas=_SCHEMAS,
)

_CONTINUE: Final = {"continue": Parameter("Where to go on")}
_GO_ON: Final = {303: "Go on there"}
_TOKEN: Final = Operation(
    answer=record(
        {
            "access_token": TEXT,
            "token_type": TEXT,
            "expires_in": COUNT,
            "refresh_token": TEXT,
            "scope": TEXT,
            "created_at": _SECONDS,
        },
        optional=("refresh_token", "scope", "created_at"),
    ),
    body=ref("PlaceTokenForm"),
    body_media=FORM,
    security=("clientBasic", ""),
    errors={400: "Not a request that can be granted", 401: "The client is not known", 413: "Too large"},
)

PAGES: Final = Group(
    tag="placeos",
    text="",
    security=(),
    error=TEXT,
    error_media=HTML,
    errors={},
    operations={
        ("GET", "/auth/authority"): Operation(
            answer=record(
                {
                    "id": TEXT,
                    "name": TEXT,
                    "description": TEXT,
                    "domain": TEXT,
                    "login_url": TEXT,
                    "logout_url": TEXT,
                    "session": FLAG,
                    "token_valid": FLAG,
                    "production": FLAG,
                    "config": OBJECT,
                    "version": TEXT,
                }
            )
        ),
        ("GET", "/auth/login"): Operation(answer=TEXT, media=HTML, query=_CONTINUE, errors=_GO_ON),
        ("POST", "/auth/login"): Operation(
            answer=TEXT,
            media=HTML,
            what="The form again: name or password are wrong",
            body=record({"username": TEXT, "password": TEXT, "continue": TEXT}, optional=("continue",)),
            body_media=FORM,
            errors=_GO_ON | {403: "The form belongs to another page"},
        ),
        ("GET", "/auth/logout"): Operation(status=303, what="Go on there", query=_CONTINUE),
        ("GET", "/auth/oauth/authorize"): Operation(
            status=303,
            what="Back to the application, or first to the page to sign in",
            query={
                "response_type": Parameter("What is wanted", one_of(("code", "token")), required=True),
                "client_id": Parameter("The MD5 of `redirect_uri`", required=True),
                "redirect_uri": Parameter("The application's address", required=True),
                "scope": Parameter("What it wants to do"),
                "state": Parameter("Comes back as it is"),
                "code_challenge": Parameter("RFC 7636"),
                "code_challenge_method": Parameter("RFC 7636", just("S256")),
            },
            errors={400: "The application is not one that is trusted"},
        ),
    },
)
"""Signing in, for people's browsers."""

SIGNIN: Final = Group(
    tag="placeos",
    text="",
    security=(),
    error=ref("PlaceOAuthError"),
    errors={},
    operations={("POST", "/auth/token"): _TOKEN, ("POST", "/auth/oauth/token"): _TOKEN},
)
"""Tokens for applications."""
