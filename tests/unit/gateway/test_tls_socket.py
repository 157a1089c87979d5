"""TLS on the listening socket: what is refused, what is offered, and a certificate that is replaced meanwhile."""

import asyncio
import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from echo_support import RecordingEndpoint
from gateway_support import RawClient, RunningServer, Start, eventually

from doorstream.gateway import Gateway
from doorstream.gateway.serve import gateway_app
from doorstream.gateway.tls import Certificate, CertificateError
from doorstream.testing.receiver import Authority

UPGRADE = (
    b"GET /socket HTTP/1.1\r\nHost: server\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class Files:
    """A certificate and its key where a server reads them."""

    def __init__(self, directory: Path) -> None:
        self.authority = Authority()
        self.chain, self.key = directory / "chain.pem", directory / "key.pem"
        self.issue()

    def issue(self, *, chain: bool = True, key: bool = True) -> bytes:
        """Replace the files as tools that renew certificates do; returns the certificate."""
        pem, secret = self.authority.issue("127.0.0.1")
        for path, content, wanted in ((self.chain, pem, chain), (self.key, secret, key)):
            if wanted:
                part = path.with_suffix(".part")
                part.write_bytes(content)
                part.rename(path)
        return pem


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


async def dial(server: RunningServer, context: ssl.SSLContext) -> tuple[RawClient, bytes]:
    """Open a connection; gives the server's certificate, too."""
    client = RawClient(*await asyncio.open_connection("127.0.0.1", server.port, ssl=context))
    server.clients.append(client)
    socket = client.writer.get_extra_info("ssl_object")
    return client, ssl.DER_cert_to_PEM_cert(socket.getpeercert(binary_form=True)).encode()


async def upgrade(client: RawClient) -> None:
    client.writer.write(UPGRADE)
    assert (await client.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")


async def test_a_new_certificate_is_for_new_connections_and_the_old_ones_stay(start: Start, files: Files) -> None:
    first = files.chain.read_bytes()
    certificate = Certificate(files.chain, files.key)
    gateway = Gateway()
    endpoint = RecordingEndpoint()
    gateway.add("/socket", endpoint)
    server = await start(gateway, gateway_app(gateway), certificate=certificate)
    client, seen = await dial(server, files.authority.client())
    assert seen.strip() == first.strip()
    await upgrade(client)

    assert not certificate.renew_if_changed()
    second = files.issue()
    assert certificate.renew_if_changed()
    other, seen = await dial(server, files.authority.client())
    assert seen.strip() == second.strip()
    await upgrade(other)
    client.send("still here")
    other.send("new here")
    await eventually(lambda: all(handler.messages for handler in endpoint.handlers))
    assert [handler.messages for handler in endpoint.handlers] == [["still here"], ["new here"]]


async def test_half_a_renewal_takes_nothing_away(start: Start, files: Files) -> None:
    """A tool writes two files, one after the other: in between they do not belong together."""
    first = files.chain.read_bytes()
    certificate = Certificate(files.chain, files.key)
    server = await start(Gateway(), certificate=certificate)
    files.issue(key=False)
    with pytest.raises(CertificateError, match=r"key\.pem is not the key of .*chain\.pem"):
        certificate.renew_if_changed()
    client, seen = await dial(server, files.authority.client())
    assert seen.strip() == first.strip()
    client.close()
    whole = files.issue()
    assert certificate.renew_if_changed()
    assert (await dial(server, files.authority.client()))[1].strip() == whole.strip()
    files.key.unlink()
    with pytest.raises(CertificateError, match=r"key\.pem cannot be read: No such file or directory"):
        certificate.renew_if_changed()


async def test_nothing_older_than_tls_1_2(start: Start, files: Files) -> None:
    server = await start(Gateway(), certificate=Certificate(files.chain, files.key))
    old = files.authority.client()
    with pytest.warns(DeprecationWarning, match="TLSv1 is deprecated"):
        old.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning, match="TLSv1_1 is deprecated"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await dial(server, old)
    client, _ = await dial(server, files.authority.client())
    assert client.writer.get_extra_info("ssl_object").version() == "TLSv1.3"


async def test_a_slow_consumer_over_tls_is_cut_off(start: Start, files: Files) -> None:
    """The bound on unsent bytes counts what TLS has not sent yet."""
    gateway = Gateway()
    endpoint = RecordingEndpoint()
    gateway.add("/socket", endpoint)
    server = await start(gateway, gateway_app(gateway), certificate=Certificate(files.chain, files.key))
    client, _ = await dial(server, files.authority.client())
    await upgrade(client)
    client.send("hello")
    await eventually(lambda: bool(endpoint.handlers[0].messages))
    client.writer.transport.pause_reading()
    connection = endpoint.handlers[0].connection
    async with asyncio.timeout(10):
        while not endpoint.handlers[0].codes:
            connection.write(b"\x82\x7e\xff\xff" + bytes(65_535))
            await asyncio.sleep(0)
    assert endpoint.handlers[0].codes == [1013]
    assert gateway.counters.slow_consumers == 1


def test_files_that_cannot_be_used(files: Files, tmp_path: Path) -> None:
    """Each is one line that names the file."""
    none = tmp_path / "none.pem"
    with pytest.raises(CertificateError, match=r"none\.pem cannot be read: No such file"):
        Certificate(none, files.key)
    with pytest.raises(CertificateError, match=r"chain\.pem holds no private key in PEM form"):
        Certificate(files.chain, files.chain)
    with pytest.raises(CertificateError, match=r"key\.pem holds no certificate in PEM form"):
        Certificate(files.key, files.key)
    key = serialization.load_pem_private_key(files.key.read_bytes(), None)
    protection = serialization.BestAvailableEncryption(b"pass phrase")
    encrypted = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection)
    locked = tmp_path / "locked.pem"
    locked.write_bytes(encrypted)
    with pytest.raises(CertificateError, match=r"locked\.pem is protected by a pass phrase"):
        Certificate(files.chain, locked)
    locked.write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    with pytest.raises(CertificateError, match="cannot be used"):
        Certificate(files.chain, locked)
