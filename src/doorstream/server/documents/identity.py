"""What the document says of tokens and keys, the routes that all dialects share (design D14)."""

from __future__ import annotations

from typing import Final

from doorstream.server.documents.notation import (
    COUNT,
    FORM,
    TEXT,
    Group,
    Operation,
    Operations,
    Schema,
    listed,
    mapped,
    one_of,
    record,
    ref,
)

OAUTH_ERROR: Final = record({"error": TEXT, "error_description": TEXT}, description="RFC 6749, 5.2.")

TOKEN_FORM: Final[Schema] = record(
    {
        "grant_type": one_of(("client_credentials", "password", "refresh_token")),
        "client_id": TEXT,
        "client_secret": TEXT,
        "username": TEXT,
        "password": TEXT,
        "refresh_token": TEXT,
        "scope": TEXT | {"examples": ["user_api.full_access offline_access"]},
    },
    optional=("client_id", "client_secret", "username", "password", "refresh_token", "scope"),
)
_CONFIGURATION: Final = record(
    {
        "issuer": TEXT,
        "token_endpoint": TEXT,
        "jwks_uri": TEXT,
        "response_types_supported": listed(TEXT),
        "grant_types_supported": listed(TEXT),
        "subject_types_supported": listed(TEXT),
        "id_token_signing_alg_values_supported": listed(TEXT),
        "token_endpoint_auth_methods_supported": listed(TEXT),
        "scopes_supported": listed(TEXT),
        "claims_supported": listed(TEXT),
    }
)
_GRANTED: Final = record(
    {
        "access_token": TEXT,
        "id_token": TEXT | {"description": "PDK's"},
        "token_type": TEXT,
        "expires_in": COUNT | {"description": "Seconds"},
        "scope": TEXT | {"description": "Salto KS's"},
        "refresh_token": TEXT,
    },
    optional=("id_token", "scope", "refresh_token"),
)
_TOKEN: Final = Operation(
    answer=ref("TokenGranted"),
    body=ref("TokenForm"),
    body_media=FORM,
    security=("clientBasic", ""),
    errors={400: "Not a request that can be granted", 401: "The client is not known", 429: "Too many requests"},
)

OPERATIONS: Final[Operations] = {
    ("GET", "/.well-known/openid-configuration"): Operation(answer=_CONFIGURATION),
    ("GET", "/.well-known/jwks.json"): Operation(answer=record({"keys": listed(mapped(TEXT))})),
    ("POST", "/connect/token"): _TOKEN,
    ("POST", "/oauth2/token"): _TOKEN,
}

IDENTITY: Final = Group(
    tag="identity",
    text="Tokens for PDK and Salto KS from one issuer, and the keys that they are checked with.",
    security=(),
    error=ref("OAuthError"),
    errors={},
    operations=OPERATIONS,
    schemas={"OAuthError": OAUTH_ERROR, "TokenForm": TOKEN_FORM, "TokenGranted": _GRANTED},
)
