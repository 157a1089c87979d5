"""What a browser client needs before it is online: ``/auth/authority``, signing in, and tokens (vendor-apis.md 2.3).

Applications are not registered: as with the vendor's browser client, an application's id is the MD5 of its redirect
address, and that address must be of this server's own origin or of a configured one. Seen from a server that itself is
reached by loopback, other ports of loopback are fine too, which is how applications are developed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from urllib.parse import urlencode, urlsplit

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from doorstream.auth import AuthError, InvalidToken, Principal
from doorstream.dialects.placeos.access import Door, asking_http
from doorstream.dialects.placeos.credentials import cookie_counts, is_own
from doorstream.dialects.placeos.errors import RestError
from doorstream.dialects.placeos.forms import OAuthError, read_form
from doorstream.dialects.placeos.oauth import TokenEndpoint
from doorstream.dialects.placeos.pages import error_page, login_page
from doorstream.dialects.placeos.request_ids import HEADER, request_id_of
from doorstream.dialects.placeos.rights import Identity
from doorstream.dialects.placeos.tokens import TOKEN_TTL, scopes_of

VERSION = "v2.0.0"
"""What clients take for the version of PlaceOS: they look whether it is 2 or later (vendor-apis.md 2.3, fact 3)."""

LOGIN = "/auth/login"
SESSION_TTL = 43_200.0
"""Seconds for which somebody who signed in is not asked again."""

_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_KEEP_OUT = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}

_encode = msgspec.json.Encoder().encode


class _Session(msgspec.Struct, array_like=True):
    user_id: str
    generation: str
    expires_at: float


_decode_session = msgspec.json.Decoder(_Session).decode


def signin_router(door: Door) -> APIRouter:
    """All routes of this module."""
    router = APIRouter(prefix="/auth", tags=["placeos"])
    pages = _Pages(door)
    tokens = TokenEndpoint(door)
    router.add_api_route("/authority", pages.authority, methods=["GET"], summary="Where clients sign in")
    router.add_api_route("/login", pages.show_login, methods=["GET"], summary="The page to sign in")
    router.add_api_route("/login", pages.login, methods=["POST"], summary="Sign in")
    router.add_api_route("/logout", pages.logout, methods=["GET"], summary="Sign out")
    router.add_api_route("/oauth/authorize", pages.authorize, methods=["GET"], summary="Authorise an application")
    for path in ("/token", "/oauth/token"):  # the browser client asks at the first, the vendor's server has the second
        router.add_api_route(path, tokens.answer, methods=["POST"], summary="Get a token")
    return router


class _Pages:
    """The routes that people's browsers go to."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._signer = door.auth.signer("placeos session")
        # Cookies know no ports: installations on one host must not share a name.
        self._cookie = f"placeos-{self._signer.sign(b'')[:8]}"

    async def authority(self, request: Request) -> Response:
        """The fields that the browser client uses (vendor-apis.md 2.3, fact 2)."""
        try:
            self._door.identify(asking_http(request))
            has_token = True
        except RestError:
            has_token = False
        shown = {
            "id": "authority-doorstream",
            "name": "doorstream",
            "description": "",
            "domain": request.headers.get("host", ""),
            "login_url": LOGIN + "?continue={{url}}",
            "logout_url": "/auth/logout",
            "session": self._signed_in(request) is not None,
            "token_valid": has_token,
            "production": True,
            "config": {},
            "version": VERSION,
        }
        headers = {"Cache-Control": "no-store", HEADER: request_id_of(request.headers)}
        return Response(_encode(shown), headers=headers, media_type="application/json")

    async def show_login(self, request: Request) -> Response:
        """The form; who is signed in goes on at once."""
        target = self._target(request, request.query_params.get("continue"))
        if self._signed_in(request) is not None:
            return RedirectResponse(target, 303, _KEEP_OUT)
        return login_page(target, self._form_targets(request))

    async def login(self, request: Request) -> Response:
        """Take the form, and remember who signed in."""
        if not cookie_counts(request.headers, self._door.own_origins):
            return error_page(403, "This form belongs to another page.")
        try:
            form = await read_form(request)
        except OAuthError as error:
            return error_page(error.status, str(error))
        target = self._target(request, form.get("continue"))
        try:
            user = await self._door.auth.check_user(form.get("username", ""), form.get("password", ""))
        except AuthError:
            return login_page(target, self._form_targets(request), has_failed=True)
        session = _Session(user.id, user.generation, self._door.clock() + SESSION_TTL)
        response = RedirectResponse(target, 303, _KEEP_OUT)
        response.set_cookie(
            self._cookie,
            self._signer.sign(_encode(session)),
            max_age=int(SESSION_TTL),
            path="/auth",
            secure=self._door.auth.issuer.startswith("https://"),
            httponly=True,
            samesite="lax",
        )
        return response

    async def logout(self, request: Request) -> Response:
        """Forget who signed in."""
        response = RedirectResponse(self._target(request, request.query_params.get("continue")), 303, _KEEP_OUT)
        response.delete_cookie(self._cookie, path="/auth")
        return response

    async def authorize(self, request: Request) -> Response:
        """RFC 6749, 4.1.1 and 4.2.1, with PKCE (RFC 7636): back to the application with a code or a token."""
        asked = request.query_params
        redirect_uri, state = asked.get("redirect_uri", ""), asked.get("state")
        client_id = asked.get("client_id", "")
        if not self._may_return_to(request, redirect_uri):
            return error_page(400, "This application's address is not one that doorstream was told to trust.")
        if client_id != hashlib.md5(redirect_uri.encode(), usedforsecurity=False).hexdigest():
            return error_page(400, "The application's client_id is not the MD5 of its redirect_uri.")
        principal = self._signed_in(request)
        if principal is None:
            here = f"{request.url.path}?{request.url.query}"
            return RedirectResponse(f"{LOGIN}?{urlencode({'continue': here})}", 303, _KEEP_OUT)
        outcome = self._outcome(asked, principal, client_id, redirect_uri)
        if state is not None:
            outcome["state"] = state
        is_token = asked.get("response_type") == "token"
        return RedirectResponse(_with(redirect_uri, outcome, in_fragment=is_token), 303, _KEEP_OUT)

    def _outcome(
        self, asked: Mapping[str, str], principal: Principal, client_id: str, redirect_uri: str
    ) -> dict[str, str]:
        if not Identity(principal).is_known:
            return {"error": "access_denied", "error_description": "no role that gives rights in PlaceOS"}
        tokens, now = self._door.tokens, self._door.clock()
        scopes = scopes_of(asked.get("scope"))
        challenge = asked.get("code_challenge", "")
        match asked.get("response_type"):
            case "token":
                token = tokens.issue(principal, scopes, now)
                return {"access_token": token, "token_type": "Bearer", "expires_in": str(int(TOKEN_TTL))}
            case "code" if challenge and asked.get("code_challenge_method") != "S256":
                return {"error": "invalid_request", "error_description": "code_challenge_method must be S256"}
            case "code":
                code = tokens.issue_code(
                    principal,
                    client_id=client_id,
                    redirect_uri=redirect_uri,
                    challenge=challenge,
                    scopes=scopes,
                    now=now,
                )
                return {"code": code}
            case _:
                return {"error": "unsupported_response_type"}

    def _signed_in(self, request: Request) -> Principal | None:
        """Whose session the browser has."""
        try:
            session = _decode_session(self._signer.verify(request.cookies.get(self._cookie, "")))
        except (InvalidToken, msgspec.DecodeError):
            return None
        if session.expires_at <= self._door.clock():
            return None
        return self._door.auth.resolve("user", session.user_id, session.generation)

    def _target(self, request: Request, wanted: str | None) -> str:
        """Where to go on: a path of this server or a page of a trusted origin, else the start."""
        if not wanted or any(character in wanted for character in "\\\r\n\t"):
            return "/"
        if wanted.startswith("/") and not wanted.startswith("//"):
            return wanted
        return wanted if self._may_return_to(request, wanted) else "/"

    def _may_return_to(self, request: Request, address: str) -> bool:
        parts = urlsplit(address)
        if "#" in address or parts.username is not None or not parts.netloc:
            return False
        host = request.headers.get("host", "")
        if is_own(f"{parts.scheme}://{parts.netloc}", host, self._door.own_origins):
            return True
        return parts.scheme == "http" and _is_loopback(parts.netloc) and _is_loopback(host)

    def _form_targets(self, request: Request) -> list[str]:
        """To where the form's answer may lead, for the page's policy: browsers look at the whole chain."""
        others = [origin for origin in self._door.own_origins if origin]
        if _is_loopback(request.headers.get("host", "")):
            others += ["http://localhost:*", "http://127.0.0.1:*"]
        return others


def _is_loopback(netloc: str) -> bool:
    host = netloc if netloc.endswith("]") else netloc.rpartition(":")[0] or netloc
    return host.lower() in _LOOPBACK


def _with(address: str, values: Mapping[str, str], *, in_fragment: bool) -> str:
    """The address with values added to its query, or as its fragment."""
    if in_fragment:
        return f"{address}#{urlencode(values)}"
    return f"{address}{'&' if '?' in address else '?'}{urlencode(values)}"
