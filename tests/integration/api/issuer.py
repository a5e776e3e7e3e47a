"""A small OpenID Connect issuer over HTTP, with keys of every kind that it signs with.

Here belongs what a test needs of an identity provider. Not here: what is expected of tokens (`test_authentication`).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

AUDIENCE = "maap-stac"
CONFIGURATION = "/.well-known/openid-configuration"
JWKS = "/keys"
#: Algorithm -> the id of a key that is good for it.
KEY_IDS = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), "rsa"),
    "ES256": "p256",
    "ES384": "p384",
    "ES512": "p521",
    "EdDSA": "ed",
}
_CURVES = {"p256": ec.SECP256R1(), "p384": ec.SECP384R1(), "p521": ec.SECP521R1()}
#: The secret of a symmetric key that a careless issuer shows with the others.
SHOWN_SECRET = b"a secret that everyone can read, and so none"


def base64url(value: bytes) -> str:
    """Without padding, as tokens have it."""
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def new_rsa(bits: int = 2048) -> rsa.RSAPrivateKey:
    """A new key."""
    return rsa.generate_private_key(65537, bits)


def jwk(key: Any, name: str, **more: Any) -> dict[str, Any]:
    """The public half of a key, as it stands in a key set."""
    if isinstance(key, rsa.RSAPrivateKey):
        document = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    elif isinstance(key, ec.EllipticCurvePrivateKey):
        document = jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    else:
        document = jwt.algorithms.OKPAlgorithm.to_jwk(key.public_key(), as_dict=True)
    document.pop("key_ops", None)
    return {**document, "kid": name, "use": "sig", **more}


def signed(header: Mapping[str, Any], claims: Mapping[str, Any], secret: bytes | None) -> str:
    """A token as a forger makes it: HMAC with whatever they have, or no signature at all."""
    parts = ".".join(base64url(json.dumps(part).encode()) for part in (header, claims))
    return f"{parts}.{base64url(hmac.digest(secret, parts.encode(), hashlib.sha256)) if secret else ''}"


@dataclass
class TestIssuer:
    """An issuer. Its answers can be changed while it runs."""

    __test__ = False

    url: str
    keys: dict[str, Any] = field(default_factory=dict)
    #: Further members of the key set.
    others: list[dict[str, Any]] = field(default_factory=list)
    #: Path -> status, body and headers that are answered instead.
    instead: dict[str, tuple[int, bytes, dict[str, str]]] = field(default_factory=dict)
    #: Paths, in the order in which they were asked for.
    asked: list[str] = field(default_factory=list)

    def claims(self, **changed: Any) -> dict[str, Any]:
        """Claims of a good token of ana; a claim that is None is left out."""
        now = int(time.time())
        good = {
            "iss": self.url,
            "aud": AUDIENCE,
            "iat": now,
            "exp": now + 300,
            "sub": "d2a1",
            "preferred_username": "ana",
        }
        return {name: value for name, value in {**good, **changed}.items() if value is not None}

    def token(
        self, algorithm: str = "RS256", *, key: Any = None, header: Mapping[str, Any] | None = None, **claims: Any
    ) -> str:
        """A token, good where nothing else is said."""
        name = KEY_IDS[algorithm]
        return jwt.encode(
            self.claims(**claims), key or self.keys[name], algorithm, headers={"kid": name, **(header or {})}
        )

    def public_pem(self) -> bytes:
        """The RSA key as everyone can have it."""
        encoded: bytes = self.keys["rsa"].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return encoded

    def answer(self, path: str) -> tuple[int, bytes, dict[str, str]]:
        """Status, body and headers."""
        self.asked.append(path)
        if path in self.instead:
            return self.instead[path]
        if path == CONFIGURATION:
            return 200, json.dumps({"issuer": self.url, "jwks_uri": self.url + JWKS}).encode(), {}
        if path == JWKS:
            keys = [jwk(key, name) for name, key in self.keys.items()]
            return 200, json.dumps({"keys": [*keys, *self.others]}).encode(), {}
        return 404, b"", {}


@contextmanager
def running_issuer(keys: Mapping[str, Any], port: int = 0) -> Iterator[TestIssuer]:
    """An issuer with these keys, on a port of its own where none is given."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body, headers = issuer.answer(self.path)
            self.send_response(status)
            for name, value in {
                "Content-Type": "application/json",
                "Content-Length": str(len(body)),
                **headers,
            }.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    issuer = TestIssuer(f"http://127.0.0.1:{server.server_address[1]}", dict(keys))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield issuer
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def keys_of_every_kind() -> dict[str, Any]:
    """Key id -> private key, for each algorithm that is accepted."""
    curves = {name: ec.generate_private_key(curve) for name, curve in _CURVES.items()}
    return {"rsa": new_rsa(), **curves, "ed": ed25519.Ed25519PrivateKey.generate()}
