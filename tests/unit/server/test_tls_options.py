"""``--tls-cert`` and ``--tls-key``, ``--trusted-proxies``: what is refused, and a certificate that is renewed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import ssl
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from cli_support import check_refused, environment, run

from doorstream.testing.receiver import Authority
from doorstream.testing.server import running_demo


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def files(authority: Authority, tmp_path: Path) -> tuple[Path, Path]:
    """A certificate and its key."""
    return write(authority, tmp_path)


def write(authority: Authority, directory: Path, *, expired: bool = False) -> tuple[Path, Path]:
    found = directory / "chain.pem", directory / "key.pem"
    for path, content in zip(found, authority.issue("127.0.0.1", expired=expired), strict=True):
        path.write_bytes(content)
    return found


async def test_refusals_are_one_line(files: tuple[Path, Path], tmp_path: Path) -> None:
    chain, key = map(str, files)
    serve = ("serve", "--port", "0", "--data-dir", str(tmp_path / "data"))
    check_refused(await run(*serve, "--tls-cert", chain), 2, "--tls-cert and --tls-key belong together")
    check_refused(await run(*serve, "--tls-cert", chain, "--tls-key", f"{key}x"), 2, "TLS: ", "cannot be read: No such")
    check_refused(await run(*serve, "--tls-cert", chain, "--tls-key", chain), 2, "TLS: ", "holds no private key")
    (tmp_path / "other").mkdir()
    _, other = write(Authority(), tmp_path / "other")
    check_refused(await run(*serve, "--tls-cert", chain, "--tls-key", str(other)), 2, "is not the key of")
    for origin in ("doors.example", "ftp://doors.example", "https://doors.example/path", "*"):
        check_refused(await run(*serve, "--allowed-origins", origin), 2, "--allowed-origins: ", origin)
    check_refused(await run(*serve, "--trusted-proxies", "10.0.0.0/8"), 2, "--trusted-proxies needs --public-url")
    public = ("--public-url", "https://doors.example.com")
    check_refused(await run(*serve, *public, "--trusted-proxies", "10.0.0.0/99"), 2, "--trusted-proxies: ", "/99")
    assert not (tmp_path / "data" / "nats").exists()


async def test_check_looks_at_the_certificate(authority: Authority, files: tuple[Path, Path], tmp_path: Path) -> None:
    options = ("check", "--port", "0", "--data-dir", str(tmp_path / "data"))
    ended = await run(*options, "--tls-cert", str(files[0]), "--tls-key", str(files[1]))
    assert "ok      TLS: the certificate is good until " in ended.output
    write(authority, tmp_path, expired=True)
    ended = await run(*options, "--tls-cert", str(files[0]), "--tls-key", str(files[1]))
    assert "error   TLS: the certificate is good until " in ended.output
    assert ended.status == 1
    ended = await run(*options, "--tls-cert", str(files[0]))
    assert "error   TLS: --tls-cert and --tls-key belong together" in ended.output


async def certificate_of(url: str, context: ssl.SSLContext) -> bytes:
    """What the server shows to a new connection."""
    _, writer = await asyncio.open_connection("127.0.0.1", urlsplit(url).port, ssl=context)
    shown: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return shown


async def test_hangup_renews_the_certificate_and_no_connection_is_lost(
    authority: Authority, files: tuple[Path, Path], tmp_path: Path
) -> None:
    """As ``systemctl reload`` does it. A renewal that went wrong is told in the log, and the old one stays."""
    context = authority.client()
    async with running_demo(tls_cert=files[0], tls_key=files[1]) as demo:
        first = await certificate_of(demo.url, context)
        reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(demo.url).port, ssl=context)

        async def ask() -> dict[str, str]:
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: server\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            size = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.startswith(b"content-length"))
            answer: dict[str, str] = json.loads(await reader.readexactly(size))
            return answer

        assert await ask() == {"status": "ok"}
        parent = demo._process
        assert parent is not None
        files[1].write_bytes(b"half of a")
        os.kill(parent.pid, signal.SIGHUP)
        async with asyncio.timeout(10):
            while "the new certificate cannot be used" not in demo.errors:  # noqa: ASYNC110 - another process writes it
                await asyncio.sleep(0.02)
        assert await certificate_of(demo.url, context) == first
        write(authority, tmp_path)
        os.kill(parent.pid, signal.SIGHUP)
        async with asyncio.timeout(10):
            while await certificate_of(demo.url, context) == first:  # noqa: ASYNC110 - it is looked at from outside
                await asyncio.sleep(0.02)
        assert await ask() == {"status": "ok"}
        writer.close()


async def test_commands_trust_the_authority_that_the_environment_names(
    authority: Authority, files: tuple[Path, Path], tmp_path: Path
) -> None:
    """``SSL_CERT_FILE`` is how an authority of one's own is made known; without it the command says what is wrong."""
    (tmp_path / "authority.pem").write_bytes(authority.certificate)
    async with running_demo(tls_cert=files[0], tls_key=files[1]) as demo:
        options = ("client", "list", "--data-dir", str(demo.data_directory))
        ended = await run(*options, env=environment(SSL_CERT_FILE=str(tmp_path / "authority.pem")))
        assert ended.status == 0, ended
        assert "demo-pdk" in ended.output
        ended = await run(*options)
        assert ended.status != 0
        assert "certificate" in ended.errors
