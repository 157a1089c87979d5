"""Credentials in, ``Principal`` out: JWT, API keys, passwords, scopes and site roles."""

from doorstream.auth.access_tokens import ACCESS_TTL, FULL_ACCESS, OFFLINE_ACCESS, AccessToken, AccessTokens, stands
from doorstream.auth.credentials import (
    ApiKey,
    Passwords,
    api_key,
    hash_secret,
    is_password_hash,
    is_secret_hash,
    matches_secret,
    new_generation,
    new_secret,
    parse_api_key,
)
from doorstream.auth.errors import AuthError, InvalidCredentials, InvalidToken, NotPermitted
from doorstream.auth.external import ExternalIssuer, ExternalTokens
from doorstream.auth.hashes import Hashes
from doorstream.auth.keys import ALGORITHM, SigningKeys
from doorstream.auth.principal import Principal, of_client, of_user
from doorstream.auth.service import Auth
from doorstream.auth.sessions import CODE_TTL, COOKIE_PATH, SESSION_TTL, Sessions, Signed, SignInCode, SignInCodes
from doorstream.auth.signing import Signer
from doorstream.auth.tickets import TICKET_TTL, Tickets
from doorstream.auth.tokens import TOKEN_TTL, SystemToken, Tokens
from doorstream.directory import SCOPES

__all__ = [
    "ACCESS_TTL",
    "ALGORITHM",
    "CODE_TTL",
    "COOKIE_PATH",
    "FULL_ACCESS",
    "OFFLINE_ACCESS",
    "SCOPES",
    "SESSION_TTL",
    "TICKET_TTL",
    "TOKEN_TTL",
    "AccessToken",
    "AccessTokens",
    "ApiKey",
    "Auth",
    "AuthError",
    "ExternalIssuer",
    "ExternalTokens",
    "Hashes",
    "InvalidCredentials",
    "InvalidToken",
    "NotPermitted",
    "Passwords",
    "Principal",
    "Sessions",
    "SignInCode",
    "SignInCodes",
    "Signed",
    "Signer",
    "SigningKeys",
    "SystemToken",
    "Tickets",
    "Tokens",
    "api_key",
    "hash_secret",
    "is_password_hash",
    "is_secret_hash",
    "matches_secret",
    "new_generation",
    "new_secret",
    "of_client",
    "of_user",
    "parse_api_key",
    "stands",
]
