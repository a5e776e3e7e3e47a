"""A webhook's request goes to the very IP address that was checked, and to nobody who is not the host by name."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address
from pathlib import Path
from uuid import uuid4

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from maap_stac_orchestration.ledger.endpoints import new_secret
from maap_stac_orchestration.pipeline.notification.answer import Answer
from maap_stac_orchestration.pipeline.notification.webhook import Webhooks
from tests.conftest import free_port

HOST = "hooks.example.org"


@dataclass
class Secure:
    """An https server whose certificate is for `hooks.example.org` alone."""

    port: int
    #: What trusts it.
    tls: ssl.SSLContext
    #: Host headers of the requests that came in.
    hosts: list[str] = field(default_factory=list)
    #: Names that clients asked for when they connected.
    asked_for: list[str | None] = field(default_factory=list)


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[Secure]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(HOST), x509.IPAddress(IPv4Address("10.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path / "server.pem"
    file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    running = Secure(
        0, ssl.create_default_context(cadata=certificate.public_bytes(serialization.Encoding.PEM).decode())
    )

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            running.hosts.append(self.headers["host"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Nothing is to be logged."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    context.sni_callback = lambda socket, asked, _: running.asked_for.append(asked)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    running.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield running
    finally:
        server.shutdown()
        server.server_close()


async def send(address: str, tls: ssl.SSLContext, *ips: str, private: bool = True) -> tuple[Answer, int]:
    """Sends once, where the host has these IP addresses; gives the answer, and how often the host was looked up."""
    looked_up = 0

    async def resolve(host: str, port: int) -> list[str]:
        nonlocal looked_up
        looked_up += 1
        # Whoever looked a second time would be led elsewhere.
        return list(ips) if looked_up == 1 else ["127.0.0.2"]

    sender = Webhooks(address, private=private, tls=tls, resolve=resolve)
    try:
        return await sender.send(uuid4(), "{}", [new_secret()]), looked_up
    finally:
        await sender.close()


async def test_the_request_goes_to_the_checked_address_under_the_name_of_the_host(secure: Secure) -> None:
    answer, looked_up = await send(f"https://{HOST}:{secure.port}/hook", secure.tls, "127.0.0.1")
    assert (answer.delivered, answer.text) == (True, "HTTP 200")
    assert looked_up == 1
    assert secure.asked_for == [HOST]
    assert secure.hosts == [f"{HOST}:{secure.port}"]


async def test_a_server_that_is_not_the_host_by_its_certificate_gets_nothing(secure: Secure) -> None:
    answer, _ = await send(f"https://other.example.org:{secure.port}/hook", secure.tls, "127.0.0.1")
    assert not answer.delivered
    assert "certificate" in answer.text.lower()
    assert secure.hosts == []


async def test_a_certificate_that_nobody_vouches_for_is_not_trusted(secure: Secure) -> None:
    answer, _ = await send(f"https://{HOST}:{secure.port}/hook", ssl.create_default_context(), "127.0.0.1")
    assert not answer.delivered
    assert secure.hosts == []


async def test_a_host_that_leads_inside_gets_no_connection(secure: Secure) -> None:
    answer, _ = await send(f"https://{HOST}:{secure.port}/hook", secure.tls, "127.0.0.1", private=False)
    assert "not of the public internet" in answer.text
    assert secure.asked_for == []


async def test_another_address_of_the_host_is_tried_where_one_takes_no_connection(secure: Secure) -> None:
    answer, _ = await send(f"https://{HOST}:{secure.port}/hook", secure.tls, "127.0.0.3", "127.0.0.1")
    assert answer.delivered


async def test_no_proxy_of_the_environment_is_asked(secure: Secure, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    answer, _ = await send(f"https://{HOST}:{secure.port}/hook", secure.tls, "127.0.0.1")
    assert answer.delivered
