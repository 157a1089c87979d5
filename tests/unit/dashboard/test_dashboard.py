"""How the dashboard's files are served: to the letter of its security policy, and no byte more often than needed."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest
from starlette.applications import Starlette

from asgi_client import AsgiClient
from doorstream.dashboard import CONTENT_SECURITY_POLICY, STATIC, dashboard_routes


@pytest.fixture
def client() -> AsgiClient:
    return AsgiClient(Starlette(routes=dashboard_routes()))


def assets() -> list[str]:
    return [f"/assets/{path.name}" for path in sorted((STATIC / "assets").iterdir())]


async def test_the_page_and_everything_it_refers_to_is_there(client: AsgiClient) -> None:
    page = await client.get("/")
    assert page.status == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    wanted = re.findall(r'(?:src|href)="(/[^"]*)"', page.body.decode())
    assert any(name.endswith(".js") for name in wanted)
    assert any(name.endswith(".css") for name in wanted)
    for name in (*wanted, *assets()):
        assert (await client.get(name)).status == 200, name


async def test_nothing_is_inline_or_from_elsewhere() -> None:
    """The policy would keep it from running: a page that needs it would be broken."""
    html = (STATIC / "index.html").read_text()
    assert not re.findall(r"<script(?![^>]*\ssrc=)", html)
    assert not re.findall(r"<style|\sstyle=|\son\w+=|javascript:", html)
    assert not re.findall(r'(?:src|href)="(?!/)', html)


async def test_every_answer_has_the_strict_policy(client: AsgiClient) -> None:
    directives = dict(part.split(" ", 1) for part in CONTENT_SECURITY_POLICY.split("; "))
    assert directives["default-src"] == directives["frame-ancestors"] == directives["base-uri"] == "'none'"
    assert directives["script-src"] == directives["style-src"] == directives["connect-src"] == "'self'"
    assert "unsafe" not in CONTENT_SECURITY_POLICY
    for name in ("/", *assets()):
        headers = (await client.get(name)).headers
        assert headers["content-security-policy"] == CONTENT_SECURITY_POLICY
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-frame-options"] == "DENY"


async def test_hashed_files_are_kept_for_ever_and_the_page_is_asked_for_again(client: AsgiClient) -> None:
    for name in assets():
        assert "immutable" in (await client.get(name)).headers["cache-control"]
    page = await client.get("/")
    assert page.headers["cache-control"] == "no-cache"
    again = await client.get("/", if_none_match=f'"other", W/{page.headers["etag"]}')
    assert (again.status, again.body) == (304, b"")
    assert again.headers["etag"] == page.headers["etag"]
    assert (await client.get("/", if_none_match='"other"')).status == 200


async def test_texts_are_packed_for_those_who_take_it(client: AsgiClient) -> None:
    name = next(name for name in assets() if name.endswith(".js"))
    plain, packed = await client.get(name), await client.get(name, accept_encoding="br, gzip;q=0.8")
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed.body) == plain.body
    assert plain.headers["vary"] == packed.headers["vary"] == "Accept-Encoding"
    assert "content-encoding" not in (await client.get(name, accept_encoding="gzip;q=0")).headers


async def test_no_other_path_leads_out_of_the_folder(client: AsgiClient) -> None:
    for name in ("/assets/", "/assets/../index.html", "/../__init__.py", "/assets/%2e%2e/index.html", "/static"):
        assert (await client.get(name)).status == 404, name


async def test_what_everybody_loads_is_small() -> None:
    """Under 100 kB packed, without the vendors' clients, which are loaded when somebody inspects."""
    html = (STATIC / "index.html").read_text()
    first = re.findall(r'(?:src|href)="(/assets/[^"]*)"', html)
    size = sum(len(gzip.compress((STATIC / name.lstrip("/")).read_bytes(), 9)) for name in first)
    assert size < 100_000


async def test_files_of_any_name_are_served(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("page")
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "x-1.woff2").write_bytes(bytes(5000))
    client = AsgiClient(Starlette(routes=dashboard_routes(tmp_path)))
    font = await client.get("/assets/x-1.woff2", accept_encoding="gzip")
    assert (font.headers["content-type"], font.body) == ("font/woff2", bytes(5000))
    head = await client.call("HEAD", "/")
    assert head.status == 200
