"""What a browser client needs before it is online (vendor-apis.md 2.3; POS-12)."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import argon2
import pytest
import websockets
from placeos_support import SYS, Room

from asgi_client import Answer, AsgiClient
from doorstream.auth import Passwords, of_user
from doorstream.directory import SYSTEM
from doorstream.events.entities import User
from world import OTHER, SECRET, SITE

FORM = "application/x-www-form-urlencoded"
PASSWORD = "a good password"


@pytest.fixture
async def people(room: Room) -> Room:
    """A site admin, a super user and a site user, who sign in with the same password."""
    room.auth.passwords = Passwords(argon2.PasswordHasher(time_cost=1, memory_cost=64))
    stored = await room.auth.passwords.hash(PASSWORD)
    for role in ("site_admin", "site_super_user", "site_user"):
        user = User(
            id=f"u-{role}",
            username=f"{role}@example.com",
            name=role,
            roles={SITE: role},
            created=room.directory.now(),
            generation="g",
            password_hash=stored,
        )
        await room.directory.create(user, SYSTEM)
    return room


async def token(room: Room, *, path: str = "/auth/token", in_query: bool = False, **form: str) -> Answer:
    """A request for a token; the browser client puts its parameters into the query for all but refreshes."""
    if in_query:
        return await room.http("POST", f"{path}?{urlencode(form)}", name=None, body=b"", content_type=FORM)
    return await room.http("POST", path, name=None, body=urlencode(form).encode(), content_type=FORM)


async def levels(room: Room, bearer: str) -> int:
    """How many of the three methods of rising level the bearer may call."""
    headers = {"authorization": f"Bearer {bearer}"}
    answers = [
        await room.http("POST", f"/api/engine/v2/systems/{SYS}/Bookings/{method}", name=None, value=[], **headers)
        for method in ("nothing", "clear", "destroy")
    ]
    return sum(answer.status == 200 for answer in answers)


async def test_pos_12_the_authority(room: Room) -> None:
    """The version must look like 2 or later, or clients ask at other routes (vendor-apis.md 2.3, fact 3)."""
    answer = await room.http("GET", "/auth/authority", name=None)
    shown = answer.json()
    assert re.fullmatch(r"v2\.\d+\.\d+", shown["version"])
    assert {"id", "name", "description", "domain", "login_url", "logout_url", "session", "production", "config"} <= set(
        shown
    )
    assert (shown["session"], shown["token_valid"]) == (False, False)
    assert "{{url}}" in shown["login_url"]
    assert answer.headers["X-Request-ID"]
    assert (await room.http("GET", "/auth/authority")).json()["token_valid"] is True


@pytest.mark.parametrize(("path", "in_query"), [("/auth/token", True), ("/auth/oauth/token", False)])
@pytest.mark.parametrize(("role", "allowed"), [("site_admin", 3), ("site_super_user", 2)])
async def test_the_password_grant(people: Room, path: str, role: str, allowed: int, *, in_query: bool) -> None:
    form = {"grant_type": "password", "username": f"{role}@example.com", "password": PASSWORD, "client_id": "x"}
    answer = await token(people, path=path, in_query=in_query, **form)
    granted = answer.json()
    assert (answer.status, granted["token_type"], granted["expires_in"]) == (200, "Bearer", 7200)
    assert answer.headers["Cache-Control"] == "no-store"
    assert await levels(people, granted["access_token"]) == allowed
    claims = json.loads(base64.urlsafe_b64decode(granted["access_token"].split(".")[1] + "=="))
    assert (claims["sub"], claims["scope"], claims["u"]["r"]) == (f"u-{role}", ["public"], [role])
    people.clock.now += 7201
    assert await levels(people, granted["access_token"]) == 0
    refresh = {"grant_type": "refresh_token", "refresh_token": granted["refresh_token"], "client_id": "x"}
    renewed = (await token(people, **refresh)).json()
    assert await levels(people, renewed["access_token"]) == allowed
    assert (await token(people, **(refresh | {"client_id": "y"}))).status == 400
    assert (await token(people, **(refresh | {"scope": "more"}))).json()["error"] == "invalid_scope"
    people.clock.now += 30 * 86_400
    assert (await token(people, **refresh)).json()["error"] == "invalid_grant"


@pytest.mark.parametrize("role", ["site_user", "site_mobile_user"])
async def test_whoever_may_see_only_their_own_movements_has_no_access(people: Room, role: str) -> None:
    """SAL-11 lets a site user see what they did themselves. Here they once opened every door and saw everybody."""
    user = people.directory.users.get("u-site_user")
    assert user is not None
    user = await people.directory.change(user, lambda old: replace(old, roles={SITE: role}), SYSTEM)
    form = {"grant_type": "password", "username": user.username, "password": PASSWORD, "client_id": "x"}
    assert (await token(people, **form)).json()["error"] == "unauthorized_client"
    browser = Browser(people)
    await browser.sign_in("site_user")
    done = await browser.go(authorize(f"{people.url}/app/", response_type="token"))
    assert parse_qs(urlsplit(done.headers["location"]).fragment)["error"] == ["access_denied"]
    issued = people.tokens.issue(of_user(user), ["public"], people.clock())
    headers = {"authorization": f"Bearer {issued}"}
    bearer = AsgiClient(people.app, headers)
    base = "/api/engine/v2/systems"
    for path in (base, f"{base}/{SYS}", f"{base}/{SYS}/functions/Bookings_1"):
        assert (await bearer.get(path)).status == 403
    assert (await bearer.post(f"{base}/{SYS}/Bookings_1/make_booking", [1])).status == 403
    with pytest.raises(websockets.InvalidStatus, match="403"):
        async with people.connect(None, headers=headers):
            pass


async def test_a_role_counts_at_its_own_site(people: Room) -> None:
    """An administrator of one site who is a mere user of another sees nothing of the other."""
    user = people.directory.users.get("u-site_user")
    assert user is not None
    roles = {SITE: "site_user", OTHER: "site_admin"}
    user = await people.directory.change(user, lambda old: replace(old, roles=roles), SYSTEM)
    headers = {"authorization": f"Bearer {people.tokens.issue(of_user(user), ['public'], people.clock())}"}
    bearer = AsgiClient(people.app, headers)
    assert [each["id"] for each in (await bearer.get("/api/engine/v2/systems")).json()] == [f"sys-{OTHER}"]
    assert (await bearer.get(f"/api/engine/v2/systems/{SYS}")).status == 404
    async with people.connect(None, headers=headers) as socket:
        for command in ("bind", "exec", "debug"):
            assert (await socket.ask(socket.command(command)))["code"] == 2


async def test_client_credentials(room: Room) -> None:
    form = {"grant_type": "client_credentials", "client_id": "support", "client_secret": SECRET}
    granted = (await token(room, **form)).json()
    assert "refresh_token" not in granted
    assert await levels(room, granted["access_token"]) == 2
    basic = base64.b64encode(f"support:{SECRET}".encode()).decode()
    body = {"grant_type": "client_credentials"}
    answer = await room.http(
        "POST",
        "/auth/token",
        name=None,
        body=urlencode(body).encode(),
        content_type=FORM,
        authorization=f"Basic {basic}",
    )
    assert answer.status == 200
    assert (await token(room, **(form | {"client_secret": "wrong"}))).status == 401
    assert (await token(room, **(form | {"client_id": "reader"}))).json()["error"] == "unauthorized_client"


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({}, "unsupported_grant_type"),
        ({"grant_type": "magic"}, "unsupported_grant_type"),
        ({"grant_type": "password", "username": "site_user@example.com", "password": "no"}, "invalid_grant"),
        ({"grant_type": "password"}, "invalid_grant"),
        ({"grant_type": "authorization_code", "code": "x"}, "invalid_grant"),
        ({"grant_type": "refresh_token", "refresh_token": "x"}, "invalid_grant"),
        ({"grant_type": "client_credentials"}, "invalid_client"),
    ],
)
async def test_refused_requests_for_tokens(people: Room, form: dict[str, str], error: str) -> None:
    answer = await token(people, **form)
    assert answer.status in (400, 401)
    assert answer.json()["error"] == error


async def test_tokens_of_other_kinds_are_no_bearers_here(room: Room) -> None:
    """Each kind of token has its own mark; and one of ours ends with its client's secret."""
    client = room.directory.clients.get("admin")
    assert client is not None
    for foreign in (
        room.auth.tokens.issue_system_token(client, SITE, room.clock()),
        room.auth.tokens.issue_id_token(client, room.clock()),
        room.auth.tokens.issue_access_token(client, room.clock()),
        "x" * 10_000,
    ):
        answer = await room.http("GET", "/api/engine/v2/systems", name=None, authorization=f"Bearer {foreign}")
        assert answer.status == 401


class Browser:
    """Keeps the cookie, follows nothing by itself."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self.cookie: str | None = None

    async def go(self, path: str, form: dict[str, str] | None = None, **headers: str) -> Answer:
        if self.cookie is not None:
            headers["cookie"] = self.cookie
        method = "GET" if form is None else "POST"
        more: dict[str, Any] = {} if form is None else {"body": urlencode(form).encode(), "content_type": FORM}
        answer = await self.room.http(method, path, name=None, **more, **headers)
        if "set-cookie" in answer.headers:
            self.cookie = answer.headers["set-cookie"].partition(";")[0]
        return answer

    async def sign_in(self, role: str = "site_admin", target: str = "/") -> Answer:
        form = {"username": f"{role}@example.com", "password": PASSWORD, "continue": target}
        return await self.go("/auth/login", form)


def md5(redirect_uri: str) -> str:
    """The id of the application that is returned to there (vendor-apis.md 2.3, fact 4)."""
    return hashlib.md5(redirect_uri.encode(), usedforsecurity=False).hexdigest()


def authorize(redirect_uri: str, **more: str) -> str:
    asked = {
        "response_type": "code",
        "client_id": md5(redirect_uri),
        "redirect_uri": redirect_uri,
        "state": "n;x",
        "scope": "public",
    }
    return f"/auth/oauth/authorize?{urlencode(asked | more)}"


async def test_from_the_sign_in_page_to_a_token_by_code_with_pkce(people: Room) -> None:
    browser, redirect_uri = Browser(people), f"{people.url}/app/oauth-resp.html"
    verifier = "v" * 43
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    start = authorize(redirect_uri, code_challenge=challenge, code_challenge_method="S256")
    to_login = await browser.go(start)
    assert to_login.status == 303
    login = to_login.headers["location"]
    page = await browser.go(login)
    assert page.status == 200
    (target,) = parse_qs(urlsplit(login).query)["continue"]
    assert f'value="{target.replace("&", "&amp;")}"' in page.body.decode()
    back = await browser.sign_in(target=target)
    assert (back.status, back.headers["location"]) == (303, start)
    assert {"HttpOnly", "Path=/auth", "SameSite=lax"} <= set(back.headers["set-cookie"].split("; "))
    assert (await browser.go("/auth/authority")).json()["session"] is True
    done = await browser.go(start)
    returned = urlsplit(done.headers["location"])
    assert f"{returned.scheme}://{returned.netloc}{returned.path}" == redirect_uri
    answer = parse_qs(returned.query)
    assert answer["state"] == ["n;x"]
    form = {
        "grant_type": "authorization_code",
        "code": answer["code"][0],
        "client_id": md5(redirect_uri),
        "redirect_uri": redirect_uri,
    }
    for wrong in ({"code_verifier": "w" * 43}, {}):
        again = parse_qs(urlsplit((await browser.go(start)).headers["location"]).query)["code"][0]
        assert (await token(people, in_query=True, **(form | {"code": again} | wrong))).json()[
            "error"
        ] == "invalid_grant"
    granted = await token(people, in_query=True, **form, code_verifier=verifier)
    assert await levels(people, granted.json()["access_token"]) == 3
    assert (await token(people, in_query=True, **form, code_verifier=verifier)).status == 400, "a code is good once"


async def test_the_implicit_grant_of_the_browser_client(people: Room) -> None:
    """It is what the vendor's client asks for unless told otherwise."""
    browser, redirect_uri = Browser(people), f"{people.url}/app/"
    await browser.sign_in("site_super_user")
    done = await browser.go(authorize(redirect_uri, response_type="token"))
    fragment = parse_qs(urlsplit(done.headers["location"]).fragment)
    assert (fragment["token_type"], fragment["state"]) == (["Bearer"], ["n;x"])
    assert await levels(people, fragment["access_token"][0]) == 2


async def test_where_a_browser_may_be_sent(people: Room) -> None:
    """Our own origin, configured ones, and other ports of loopback while we are on loopback ourselves."""
    browser = Browser(people)
    await browser.sign_in()
    for good in (f"{people.url}/x", "https://app.example/app/", "http://localhost:4200/", "http://127.0.0.1:1/x?y=1"):
        assert (await browser.go(authorize(good))).status == 303, good
        assert (await browser.sign_in(target=good)).headers["location"] == good
    for bad in (
        "https://evil.example/",
        "https://app.example.evil.example/",
        "//evil.example",
        "javascript:alert(1)",
        f"{people.url}@evil.example/",
        "https://user@app.example/",
        "https://app.example/#x",
        "http://evil.example:80/",
        "",
    ):
        refused = await browser.go(authorize(bad))
        assert (refused.status, "location" in refused.headers) == (400, False), bad
        assert (await browser.sign_in(target=bad)).headers["location"] == "/", bad
    assert (await browser.sign_in(target="/\\evil.example")).headers["location"] == "/"
    assert (await browser.go(authorize(f"{people.url}/x", client_id="0" * 32))).status == 400
    public = {"host": "doors.example"}
    assert (await browser.go(authorize("http://localhost:4200/"), **public)).status == 400
    unsupported = await browser.go(authorize(f"{people.url}/x", response_type="magic"))
    assert "error=unsupported_response_type" in unsupported.headers["location"]
    plain = await browser.go(authorize(f"{people.url}/x", code_challenge="c", code_challenge_method="plain"))
    assert "error=invalid_request" in plain.headers["location"]


async def test_the_page_loads_nothing_and_is_in_no_frame(people: Room) -> None:
    page = await Browser(people).go('/auth/login?continue=/"><script>alert(1)</script>')
    policy = page.headers["content-security-policy"]
    for part in ("default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"):
        assert part in policy
    html = page.body.decode()
    assert "<script" not in html
    assert not re.search(r"(src|href)=", html)
    style = re.search(r"<style>(.*?)</style>", html, re.DOTALL)
    assert style is not None
    assert base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode() in policy


async def test_wrong_passwords_foreign_forms_and_signing_out(people: Room) -> None:
    browser = Browser(people)
    wrong = await browser.go("/auth/login", {"username": "site_admin@example.com", "password": "x", "continue": "/a"})
    assert (wrong.status, browser.cookie) == (401, None)
    assert 'value="/a"' in wrong.body.decode()
    form = {"username": "site_admin@example.com", "password": PASSWORD}
    assert (await browser.go("/auth/login", form, origin="https://evil.example")).status == 403
    assert browser.cookie is None
    assert (await browser.go("/auth/login", form, origin=people.url)).headers["location"] == "/"
    assert (await browser.go("/auth/login?continue=/b")).headers["location"] == "/b", "who is signed in goes on"
    user = people.directory.users.get("u-site_admin")
    assert user is not None
    signed_in = browser.cookie
    assert (await browser.go("/auth/logout")).status == 303
    assert (await browser.go("/auth/authority")).json()["session"] is False
    browser.cookie = signed_in
    people.clock.now += 43_201
    assert (await browser.go("/auth/authority")).json()["session"] is False
    await browser.sign_in()
    await people.directory.delete(user, SYSTEM)
    assert (await browser.go("/auth/authority")).json()["session"] is False
