"""Tokens of an OpenID Connect issuer: its keys, and what a token says once its signature and its claims hold.

Here belongs checking such a token (RFC 7519, RFC 8725) and fetching keys. Not here: our own tokens (`ledger.tokens`),
and what is answered to a client (`authentication`). Everything blocks, and so runs in threads.
"""

from __future__ import annotations

import http.client
import json
import logging
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt import PyJWK

from maap_stac_orchestration.governance.curation import Person
from maap_stac_orchestration.ledger.tokens import username_problem
from maap_stac_orchestration.settings import Settings

log = logging.getLogger(__name__)

#: Characters of the longest token that is looked at.
LONGEST_TOKEN = 16 * 1024

#: Key type and curve -> the algorithms that a key of it may be used with. Only asymmetric ones: with any other, whoever
#: knows the public key could sign.
_ALGORITHMS: dict[tuple[str, str | None], tuple[str, ...]] = {
    ("RSA", None): ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
    ("OKP", "Ed25519"): ("EdDSA",),
}
#: RFC 7518, section 3.3.
_SMALLEST_RSA_KEY = 2048
#: What the header may call the token. A logout or a refresh token is signed by the same keys and opens nothing.
_TYPES = {"jwt", "at+jwt", "application/at+jwt"}

#: Seconds after which keys are fetched again: that long a key lives on that the issuer took back.
_FRESH = 600.0
#: Seconds that keys are used for while the issuer does not answer.
_USABLE = 3600.0
#: Seconds that nothing is fetched after it failed.
_PAUSE = 2.0
#: So often within so many seconds keys are fetched because a token names one that is not known. New keys are then used
#: at once, and made-up tokens do not become a flood of requests at the issuer.
_FETCHES, _WITHIN = 5, 60.0
#: Seconds that the issuer may take for an answer, and bytes of it.
_PATIENCE = 5.0
_LARGEST_ANSWER = 2**20


class TokenInvalid(Exception):
    """A token is not accepted; the message is a sentence in ASCII without quotes, fit for a header."""


class IssuerUnavailable(Exception):
    """The issuer's keys cannot be fetched, so nothing can be said about its tokens."""


@dataclass(frozen=True, slots=True)
class _Keys:
    """What the issuer signs with."""

    #: Key id -> algorithm -> key.
    by_id: Mapping[str, Mapping[str, PyJWK]]
    #: Monotonic seconds.
    fetched_at: float


class Issuer:
    """One issuer. Safe to be used by several threads."""

    def __init__(self, settings: Settings) -> None:
        """As the settings say.

        Args:
            settings: `oidc_issuer` and `oidc_audience` must be set.
        """
        assert settings.oidc_issuer is not None
        assert settings.oidc_audience is not None
        self.issuer = settings.oidc_issuer
        self._audience = settings.oidc_audience
        self._jwks_url = settings.oidc_jwks_url
        self._username_claim = settings.oidc_username_claim
        self._roles_claim = settings.oidc_roles_claim
        self._admin_role = settings.admin_role
        self._leeway = settings.oidc_leeway
        self._fetching = threading.Lock()
        self._keys = _Keys({}, float("-inf"))
        self._failed_at = float("-inf")
        self._asked: deque[float] = deque(maxlen=_FETCHES)

    def person(self, token: str) -> Person:
        """Who the token speaks for.

        Raises:
            TokenInvalid: the token is not accepted.
            IssuerUnavailable: see there.
        """
        if len(token) > LONGEST_TOKEN:
            raise TokenInvalid("The token is too long.")
        try:
            claims = jwt.decode(
                token,
                # A key goes with one algorithm, which is its own: what the header says picks, and decides nothing.
                key := self._key_of(token),
                algorithms=[key.algorithm_name],
                audience=self._audience,
                issuer=self.issuer,
                leeway=self._leeway,
                options={"require": ["exp", "iss", "aud"]},
            )
        except jwt.InvalidTokenError as error:
            raise TokenInvalid(_sentence(error)) from error
        return Person(username=self._username(claims), admin=self._admin_role in _roles(claims, self._roles_claim))

    def _key_of(self, token: str) -> PyJWK:
        header = jwt.get_unverified_header(token)
        algorithm, name, type_ = header.get("alg"), header.get("kid"), header.get("typ", "JWT")
        if not any(algorithm in algorithms for algorithms in _ALGORITHMS.values()):
            raise TokenInvalid("The token is not signed in a way that is accepted here: RS, PS, ES or EdDSA.")
        if not isinstance(type_, str) or type_.lower() not in _TYPES:
            raise TokenInvalid("The token is of a type that is not accepted here.")
        if not isinstance(name, str):
            raise TokenInvalid("The token does not name the key that it is signed with (kid).")
        key = self._keys_with(name).get(name, {}).get(str(algorithm))
        if key is None:
            raise TokenInvalid("The token is signed with a key that the issuer does not have.")
        return key

    def _keys_with(self, name: str) -> Mapping[str, Mapping[str, PyJWK]]:
        """The keys, fetched where they are old or do not have this one."""
        keys = self._keys
        if name in keys.by_id and time.monotonic() - keys.fetched_at < _FRESH:
            return keys.by_id
        with self._fetching:
            keys, now = self._keys, time.monotonic()  # another thread may have fetched them meanwhile
            age = now - keys.fetched_at
            if name in keys.by_id and age < _FRESH:
                return keys.by_id
            usable = name in keys.by_id and age < _USABLE
            if now - self._failed_at < _PAUSE:
                if usable:
                    return keys.by_id
                raise IssuerUnavailable("the issuer did not answer a moment ago")
            if age < _FRESH and len(self._asked) == _FETCHES and now - self._asked[0] < _WITHIN:
                return keys.by_id
            self._asked.append(now)
            try:
                self._keys = _Keys(self._fetched(), time.monotonic())
            except IssuerUnavailable as error:
                self._failed_at = time.monotonic()
                log.warning("The keys of the issuer %s cannot be fetched: %s", self.issuer, error)
                if usable:
                    return keys.by_id
                raise
            return self._keys.by_id

    def _fetched(self) -> Mapping[str, Mapping[str, PyJWK]]:
        url = self._jwks_url
        if url is None:
            configuration = _get(f"{self.issuer.rstrip('/')}/.well-known/openid-configuration")
            called = configuration.get("issuer")
            if called != self.issuer:
                raise IssuerUnavailable(f"it calls itself {called!r}, which MAAP_STAC_OIDC_ISSUER must be too")
            url = configuration.get("jwks_uri")
            if not isinstance(url, str) or urlsplit(url).scheme not in ("https", "http"):
                raise IssuerUnavailable(f"its configuration has no usable jwks_uri, but {url!r}")
        keys = _get(url).get("keys")
        if not isinstance(keys, list):
            raise IssuerUnavailable(f"{url} is no JSON Web Key Set")
        found: dict[str, dict[str, PyJWK]] = {}
        for one in keys:
            if isinstance(one, dict) and isinstance(one.get("kid"), str) and one.get("use", "sig") == "sig":
                found.setdefault(one["kid"], {}).update(_by_algorithm(one))
        usable = {name: keys for name, keys in found.items() if keys}
        if not usable:
            raise IssuerUnavailable(f"{url} has no key that can be used")
        return usable

    def _username(self, claims: Mapping[str, Any]) -> str:
        name = _claim(claims, self._username_claim)
        if not isinstance(name, str) or username_problem(name) is not None:
            raise TokenInvalid("The token has no usable username in the claim that this service looks at.")
        return name


def _by_algorithm(key: Mapping[str, Any]) -> dict[str, PyJWK]:
    """A key of the set for each algorithm that it may be used with; none where it cannot be used."""
    kind = str(key.get("kty"))
    algorithms = _ALGORITHMS.get((kind, None if kind == "RSA" else str(key.get("crv"))), ())
    if "alg" in key:
        algorithms = tuple(one for one in algorithms if one == key["alg"])
    try:
        found = {algorithm: PyJWK(dict(key), algorithm) for algorithm in algorithms}
    except (jwt.PyJWTError, TypeError, ValueError) as error:
        log.warning("The key %s of the issuer cannot be used: %s", key.get("kid"), error)
        return {}
    if any(isinstance(one.key, RSAPublicKey) and one.key.key_size < _SMALLEST_RSA_KEY for one in found.values()):
        log.warning("The key %s of the issuer is too short to be trusted.", key.get("kid"))
        return {}
    return found


def _claim(claims: Mapping[str, Any], name: str) -> Any:
    """A claim by its name, which may hold dots (`https://maap.org/roles`), else by a path into objects."""
    if name in claims:
        return claims[name]
    value: Any = claims
    for part in name.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return None
        value = value[part]
    return value


def _roles(claims: Mapping[str, Any], name: str) -> frozenset[str]:
    """The roles, from a list or a text with spaces between; whatever else stands there gives none."""
    value = _claim(claims, name)
    if isinstance(value, str):
        return frozenset(value.split())
    if isinstance(value, list):
        return frozenset(one for one in value if isinstance(one, str))
    return frozenset()


def _sentence(error: jwt.InvalidTokenError) -> str:
    """What is wrong, without anything that stands in the token."""
    match error:
        case jwt.ExpiredSignatureError():
            return "The token has expired."
        case jwt.ImmatureSignatureError():
            return "The token is not valid yet."
        case jwt.InvalidAudienceError():
            return "The token is meant for another service (aud)."
        case jwt.InvalidIssuerError():
            return "The token is from another issuer (iss)."
        case jwt.MissingRequiredClaimError():
            return f"The token has no claim {error.claim}."
        case jwt.InvalidSignatureError():
            return "The signature of the token is wrong."
    return "The token cannot be read."


class _NoRedirects(HTTPRedirectHandler):
    """Keys come from where the configuration says, not from where an answer leads."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


def _get(url: str) -> dict[str, Any]:
    """A JSON object.

    Raises:
        IssuerUnavailable: there is none; the message says why.
    """
    request = Request(url, headers={"Accept": "application/json"})  # noqa: S310  # http(s), as the callers made sure
    deadline = time.monotonic() + _PATIENCE
    body = b""
    try:
        with build_opener(_NoRedirects()).open(request, timeout=_PATIENCE) as answer:
            # A patience for each read alone would let an answer that drips take for ever.
            while chunk := answer.read1(64 * 1024):
                body += chunk
                if len(body) > _LARGEST_ANSWER:
                    raise IssuerUnavailable(f"the answer of {url} has more than {_LARGEST_ANSWER} bytes")
                if time.monotonic() > deadline:
                    raise IssuerUnavailable(f"the answer of {url} took more than {_PATIENCE:.0f} s")
        document = json.loads(body)
    except HTTPError as error:
        error.close()
        raise IssuerUnavailable(f"{url} answers {error.code}") from error
    except (OSError, http.client.HTTPException) as error:
        raise IssuerUnavailable(f"{url} does not answer: {error}") from error
    except (ValueError, RecursionError) as error:
        raise IssuerUnavailable(f"{url} does not answer with JSON: {error}") from error
    if not isinstance(document, dict):
        raise IssuerUnavailable(f"{url} answers with JSON that is no object")
    return document
