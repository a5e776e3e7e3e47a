"""Who is let in: tokens of a real issuer and of our own, good ones and each kind of bad one, over HTTP."""

from __future__ import annotations

import http.client
import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import jwt
import psycopg
import pytest
import requests

from maap_stac_orchestration.api.app import create_app
from maap_stac_orchestration.ledger import tokens
from maap_stac_orchestration.ledger.changes import Author, Via
from maap_stac_orchestration.settings import Settings
from tests.conftest import free_port
from tests.integration.api.conftest import Api, running
from tests.integration.api.issuer import (
    AUDIENCE,
    CONFIGURATION,
    JWKS,
    KEY_IDS,
    SHOWN_SECRET,
    TestIssuer,
    base64url,
    jwk,
    keys_of_every_kind,
    new_rsa,
    running_issuer,
    signed,
)

AUTHOR = Author("operator", Via.CLI, "for a test")
FOREIGN_KEY = new_rsa()
ELSEWHERE = "https://login.example.org/"
ALONE = 'Bearer realm="maap-stac"'


@pytest.fixture(scope="module")
def keys() -> dict[str, Any]:
    return keys_of_every_kind()


@pytest.fixture(scope="module")
def issuer(keys: dict[str, Any]) -> Iterator[TestIssuer]:
    with running_issuer(keys) as one:
        one.others = [
            jwk(keys["rsa"], "only-rs256", alg="RS256"),
            jwk(keys["rsa"], "encryption", use="enc"),
            jwk(SHORT_KEY, "short"),
            {"kty": "oct", "kid": "shown", "k": base64url(SHOWN_SECRET), "alg": "HS256"},
            {"kty": "RSA", "kid": "broken", "n": "!", "e": "AQAB"},
            {"no": "key"},
        ]
        yield one


@pytest.fixture(scope="module")
def api(shared_database: str, issuer: TestIssuer) -> Iterator[Api]:
    with running(oidc_issuer=issuer.url, oidc_audience=AUDIENCE) as one:
        yield one


def ask(api: Api, token: str | None, method: str = "GET", path: str = "/jobs", **more: Any) -> requests.Response:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return requests.request(method, api.url + path, headers=headers, timeout=30, **more)


def own_token(database: str, username: str = "ana", *, admin: bool = False) -> tuple[int, str]:
    with psycopg.connect(database) as connection:
        token, secret = tokens.create(connection, username, admin=admin, validity=timedelta(hours=1), author=AUTHOR)
    return token.id, secret


def revoke(database: str, number: int) -> None:
    with psycopg.connect(database) as connection:
        tokens.revoke(connection, number, AUTHOR)


SHORT_KEY = new_rsa(1024)


def altered(token: str, **claims: Any) -> str:
    """The same header and signature around other claims."""
    header, _, signature = token.split(".")
    claims = {**jwt.decode(token, options={"verify_signature": False}), **claims}
    return f"{header}.{base64url(json.dumps(claims).encode())}.{signature}"


def nested(depth: int) -> str:
    """A token whose header is so deep that reading it needs as many calls."""
    return f"{base64url(b'[' * depth)}.{base64url(b'{}')}.x"


#: What is wrong with a token -> how it is made, and a word of the sentence that says so.
REFUSED: dict[str, tuple[Callable[[TestIssuer], str], str]] = {
    "no signature, alg none": (
        lambda i: signed({"alg": "none", "typ": "JWT", "kid": "rsa"}, i.claims(), None),
        "not signed in a way",
    ),
    "alg None in other letters": (
        lambda i: signed({"alg": "nOnE", "typ": "JWT", "kid": "rsa"}, i.claims(), None),
        "not signed in a way",
    ),
    "HS256 with the public key": (
        lambda i: signed({"alg": "HS256", "typ": "JWT", "kid": "rsa"}, i.claims(), i.public_pem()),
        "not signed in a way",
    ),
    "HS256 with a secret that the issuer shows": (
        lambda i: signed({"alg": "HS256", "typ": "JWT", "kid": "shown"}, i.claims(), SHOWN_SECRET),
        "not signed in a way",
    ),
    "RS256 signed by HMAC with the public key": (
        lambda i: signed({"alg": "RS256", "typ": "JWT", "kid": "rsa"}, i.claims(), i.public_pem()),
        "signature",
    ),
    "alg that is no text": (lambda i: signed({"alg": ["RS256"], "kid": "rsa"}, i.claims(), b"x"), "not signed"),
    "another audience": (lambda i: i.token(aud="another-service"), "another service"),
    "another audience that begins alike": (lambda i: i.token(aud=AUDIENCE + "-admin"), "another service"),
    "no audience": (lambda i: i.token(aud=None), "no claim aud"),
    "another issuer": (lambda i: i.token(iss="https://login.example.org"), "another issuer"),
    "the issuer with a slash": (lambda i: i.token(iss=i.url + "/"), "another issuer"),
    "no issuer": (lambda i: i.token(iss=None), "no claim iss"),
    "expired": (lambda i: i.token(exp=int(time.time()) - 60), "expired"),
    "never expires": (lambda i: i.token(exp=None), "no claim exp"),
    "exp that is no number": (lambda i: i.token(exp="soon"), "cannot be read"),
    "exp that is infinite": (lambda i: i.token(exp=float("inf")), "cannot be read"),
    "not yet valid": (lambda i: i.token(nbf=int(time.time()) + 600), "not valid yet"),
    "issued in the future": (lambda i: i.token(iat=int(time.time()) + 600), "not valid yet"),
    "unknown key": (lambda i: i.token(header={"kid": "nobody"}), "does not have"),
    "unknown key, with the key and its address in the header": (
        lambda i: i.token(
            key=FOREIGN_KEY,
            header={"kid": "mine", "jwk": jwk(FOREIGN_KEY, "mine"), "jku": i.url + "/forged"},
        ),
        "does not have",
    ),
    "no key named": (lambda i: jwt.encode(i.claims(), i.keys["rsa"], "RS256"), "kid"),
    "key for encryption": (lambda i: i.token(header={"kid": "encryption"}), "does not have"),
    "key that is too short": (lambda i: i.token(key=SHORT_KEY, header={"kid": "short"}), "does not have"),
    "key of another algorithm": (lambda i: i.token("PS256", header={"kid": "only-rs256"}), "does not have"),
    "key of another kind": (lambda i: i.token(header={"kid": "p256"}), "does not have"),
    "foreign key under a known name": (lambda i: i.token(key=FOREIGN_KEY), "signature"),
    "other claims than were signed": (lambda i: altered(i.token(), preferred_username="bea"), "signature"),
    "signature cut off": (lambda i: i.token().rsplit(".", 1)[0] + ".", "signature"),
    "logout token": (lambda i: i.token(header={"typ": "logout+jwt"}), "type"),
    "critical extension": (lambda i: i.token(header={"crit": ["exp2"], "exp2": 1}), "cannot be read"),
    "no username": (lambda i: i.token(preferred_username=None), "username"),
    "empty username": (lambda i: i.token(preferred_username=""), "username"),
    "username that is a number": (lambda i: i.token(preferred_username=7), "username"),
    "username that is a list": (lambda i: i.token(preferred_username=["ana"]), "username"),
    "username with a slash": (lambda i: i.token(preferred_username="ana/bea"), "username"),
    "username with a blank": (lambda i: i.token(preferred_username="ana bea"), "username"),
    "username with a control character": (lambda i: i.token(preferred_username="ana\n"), "username"),
    "username of a team": (lambda i: i.token(preferred_username="@boreal"), "username"),
    "username of everyone": (lambda i: i.token(preferred_username="*"), "username"),
    "garbage": (lambda i: "garbage", "cannot be read"),
    "garbage with dots": (lambda i: "a.b.c", "cannot be read"),
    "dots": (lambda i: "...", "cannot be read"),
    "a header as deep as a well": (lambda i: nested(8_000), "cannot be read"),
    "claims that are a list": (
        lambda i: jwt.PyJWS().encode(b"[]", i.keys["rsa"], "RS256", headers={"kid": "rsa"}),
        "cannot be read",
    ),
    "too long": (lambda i: i.token(padding="x" * 20_000), "too long"),
    "nothing": (lambda i: "", "empty"),
    "two tokens": (lambda i: f"{i.token()} {i.token()}", "characters"),
    "characters of no token": (lambda i: "to\xe9ken", "characters"),
    "unknown token of our own": (lambda i: tokens.PREFIX + "A" * 43, "not known"),
    "beginning of a token of our own": (lambda i: tokens.PREFIX, "not known"),
}

#: Where a token is needed, and where none is.
ROUTES = [("POST", "/registry/grants"), ("GET", "/registry/grants"), ("POST", "/collections"), ("GET", "/collections")]


def refused(answer: requests.Response, word: str) -> None:
    """It is a refusal as RFC 6750 and RFC 9457 have it, and its sentence has the word."""
    assert answer.status_code == 401, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    challenge = re.fullmatch(
        r'Bearer realm="maap-stac", error="invalid_token", error_description="([ !#-\[\]-~]+)"',
        answer.headers["www-authenticate"],
    )
    assert challenge, answer.headers["www-authenticate"]
    document = answer.json()
    assert (document["status"], document["code"]) == (401, "InvalidToken")
    assert document["detail"] == challenge[1]
    assert word in document["detail"]


@pytest.mark.parametrize("wrong", REFUSED)
def test_a_bad_token_is_refused_wherever_it_is_shown(api: Api, issuer: TestIssuer, wrong: str) -> None:
    make, word = REFUSED[wrong]
    token = make(issuer)
    for method, path in ROUTES:
        # As bytes, since a header may hold what is no ASCII.
        answer = requests.request(
            method, api.url + path, headers={"Authorization": f"Bearer {token}".encode("latin-1")}, json={}, timeout=30
        )
        refused(answer, word)


def test_no_address_in_a_token_was_ever_asked(api: Api, issuer: TestIssuer) -> None:
    refused(ask(api, REFUSED["unknown key, with the key and its address in the header"][0](issuer)), "does not have")
    assert set(issuer.asked) <= {CONFIGURATION, JWKS}


def name_of(answer: requests.Response) -> str:
    """The username that a token was taken for: who is no administrator is told so by name."""
    assert answer.status_code == 403, answer.text
    found = re.search(r"and (\S+) is none", answer.json()["detail"])
    assert found
    return found[1]


@pytest.mark.parametrize("algorithm", KEY_IDS)
def test_a_good_token_of_every_algorithm_is_taken(api: Api, issuer: TestIssuer, algorithm: str) -> None:
    assert name_of(ask(api, issuer.token(algorithm), path="/registry/grants")) == "ana"
    assert ask(api, issuer.token(algorithm)).status_code == 200


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": ["account", AUDIENCE]},
        {"exp": int(time.time()) + 86_400},
        {"nbf": int(time.time()) - 60},
        {"iat": None},
        {"sub": None},
    ],
)
def test_claims_that_are_as_good_are_taken(api: Api, issuer: TestIssuer, claims: dict[str, Any]) -> None:
    assert name_of(ask(api, issuer.token(**claims), path="/registry/grants")) == "ana"


def test_clocks_may_differ_by_some_seconds(api: Api, issuer: TestIssuer) -> None:
    assert ask(api, issuer.token(exp=int(time.time()) - 5)).status_code == 200


@pytest.mark.parametrize("type_", ["JWT", "at+jwt", "application/at+jwt"])
def test_access_tokens_are_taken_however_they_call_themselves(api: Api, issuer: TestIssuer, type_: str) -> None:
    assert ask(api, issuer.token(header={"typ": type_})).status_code == 200


@pytest.mark.parametrize("roles", [["other", "maap-stac-admin"], "other maap-stac-admin"])
def test_who_has_the_role_is_an_administrator(api: Api, issuer: TestIssuer, roles: Any) -> None:
    assert ask(api, issuer.token(roles=roles), path="/registry/grants").status_code == 200


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"roles": []},
        {"roles": ["maap-stac-administrator"]},
        {"roles": "maap-stac-admin,other"},
        {"roles": ["MAAP-STAC-ADMIN"]},
        {"roles": [["maap-stac-admin"]]},
        {"roles": {"maap-stac-admin": True}},
        {"roles": True},
        {"groups": ["maap-stac-admin"]},
        {"admin": True},
    ],
)
def test_whoever_lacks_the_role_is_none(api: Api, issuer: TestIssuer, claims: dict[str, Any]) -> None:
    answer = ask(api, issuer.token(**claims), "POST", "/registry/grants", json={"collection": "x", "reason": "y"})
    assert answer.status_code == 403
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["www-authenticate"].startswith(f'{ALONE}, error="insufficient_scope"')
    assert answer.json()["code"] == "InsufficientScope"


@pytest.mark.parametrize(
    ("settings", "claims"),
    [
        ({"oidc_roles_claim": "realm_access.roles"}, {"realm_access": {"roles": ["maap-stac-admin"]}}),
        ({"oidc_roles_claim": "https://maap.org/roles"}, {"https://maap.org/roles": ["maap-stac-admin"]}),
        ({"oidc_roles_claim": "groups", "admin_role": "/curators"}, {"groups": ["/curators"]}),
    ],
)
def test_roles_are_looked_for_where_the_settings_say(
    shared_database: str, issuer: TestIssuer, settings: dict[str, str], claims: dict[str, Any]
) -> None:
    with running(oidc_issuer=issuer.url, oidc_audience=AUDIENCE, **settings) as api:
        assert ask(api, issuer.token(**claims), path="/registry/grants").status_code == 200
        assert ask(api, issuer.token(roles=["maap-stac-admin"]), path="/registry/grants").status_code == 403
        # What should be an object is none.
        assert ask(api, issuer.token(realm_access=["roles"]), path="/registry/grants").status_code == 403


def test_the_username_is_looked_for_where_the_settings_say(shared_database: str, issuer: TestIssuer) -> None:
    with running(oidc_issuer=issuer.url, oidc_audience=AUDIENCE, oidc_username_claim="sub") as api:
        assert name_of(ask(api, issuer.token(), path="/registry/grants")) == "d2a1"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/registry/grants"),
        ("POST", "/registry/grants"),
        ("DELETE", "/registry/grants/1"),
        ("GET", "/registry/history"),
        ("POST", "/collections"),
        ("PUT", "/collections/some"),
        ("PATCH", "/collections/some"),
        ("DELETE", "/collections/some"),
    ],
)
@pytest.mark.parametrize("header", [None, "Basic YW5hOnNlY3JldA=="])
def test_without_a_token_it_is_said_that_one_is_needed(api: Api, method: str, path: str, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    answer = requests.request(method, api.url + path, headers=headers, json={}, timeout=30)
    assert answer.status_code == 401, answer.text
    assert answer.headers["www-authenticate"] == ALONE
    assert answer.headers["content-type"] == "application/problem+json"
    assert "Authorization: Bearer" in answer.json()["detail"]


def test_two_tokens_in_two_headers_are_no_request(api: Api, issuer: TestIssuer) -> None:
    connection = http.client.HTTPConnection(urlsplit(api.url).netloc, timeout=30)
    connection.putrequest("GET", "/jobs")
    for _ in range(2):
        connection.putheader("Authorization", f"Bearer {issuer.token()}")
    connection.endheaders()
    answer = connection.getresponse()
    assert answer.status == 400
    assert 'error="invalid_request"' in answer.headers["www-authenticate"]
    connection.close()


# ---- our own tokens


def test_a_token_of_our_own_speaks_for_its_user_until_it_is_revoked(api: Api, shared_database: str) -> None:
    number, secret = own_token(shared_database, "carl")
    assert name_of(ask(api, secret, path="/registry/grants")) == "carl"
    revoke(shared_database, number)
    refused(ask(api, secret, path="/registry/grants"), "revoked")
    refused(ask(api, secret), "revoked")


def test_a_token_of_an_administrator_is_one_as_long_as_it_is_valid(api: Api, shared_database: str) -> None:
    number, secret = own_token(shared_database, "bea", admin=True)
    assert ask(api, secret, path="/registry/grants").status_code == 200
    with psycopg.connect(shared_database) as connection:
        connection.execute(
            "UPDATE ledger.token SET expires_at = clock_timestamp() - interval '1 second' WHERE id = %s", (number,)
        )
    refused(ask(api, secret, path="/registry/grants"), "expired")


def test_the_scheme_is_read_in_any_case(api: Api, shared_database: str) -> None:
    _, secret = own_token(shared_database)
    answer = requests.get(f"{api.url}/registry/grants", headers={"Authorization": f"bearer {secret}"}, timeout=30)
    assert name_of(answer) == "ana"


def test_without_an_issuer_only_tokens_of_our_own_are_taken(shared_database: str, issuer: TestIssuer) -> None:
    _, secret = own_token(shared_database)
    with running() as api:
        assert ask(api, secret).status_code == 200
        refused(ask(api, issuer.token()), "not one of this service")


def test_a_token_that_the_database_cannot_be_asked_about_is_not_called_bad(
    shared_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, secret = own_token(shared_database)
    monkeypatch.setenv("PGPORT", str(free_port()))
    with running() as api:
        answer = ask(api, secret, path="/conformance")
        assert answer.status_code == 503
        assert (answer.json()["code"], answer.headers["retry-after"]) == ("DatabaseUnavailable", "5")
        assert ask(api, None, path="/conformance").status_code == 200


# ---- the issuer's keys


def unavailable(answer: requests.Response) -> None:
    assert answer.status_code == 503, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.json()["code"], answer.headers["retry-after"]) == ("IssuerUnavailable", "5")
    assert "www-authenticate" not in answer.headers


def until_200(api: Api, token: str) -> None:
    """Waits until a token is taken; it is for the test's own limit of time to give up."""
    while (answer := ask(api, token)).status_code != 200:
        unavailable(answer)
        time.sleep(0.2)


def test_while_the_issuer_is_down_tokens_cannot_be_told_and_all_else_works(
    shared_database: str, keys: dict[str, Any]
) -> None:
    port = free_port()
    _, secret = own_token(shared_database)
    with running(oidc_issuer=f"http://127.0.0.1:{port}", oidc_audience=AUDIENCE) as api:
        forged = TestIssuer(f"http://127.0.0.1:{port}", keys)
        for method, path in ROUTES:
            unavailable(ask(api, forged.token(), method, path, json={}))
        assert ask(api, None).status_code == 200
        assert ask(api, secret).status_code == 200
        with running_issuer(keys, port) as issuer:
            until_200(api, issuer.token())
        # It goes again, and what it signed is still known.
        assert ask(api, issuer.token()).status_code == 200
        unavailable(ask(api, issuer.token(header={"kid": "new"})))


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        (CONFIGURATION, (500, b"", {})),
        (CONFIGURATION, (200, b"<html>", {})),
        (CONFIGURATION, (200, b"[]", {})),
        (CONFIGURATION, (302, b"", {"Location": "/elsewhere"})),
        (JWKS, (404, b"", {})),
        (JWKS, (200, b"{}", {})),
        (JWKS, (200, b'{"keys": []}', {})),
        (JWKS, (200, b'{"keys": [{"kty": "oct", "kid": "rsa", "k": "c2VjcmV0"}]}', {})),
        (JWKS, (200, b" " * 2**21, {})),
        (JWKS, (200, b"[" * 100_000, {})),
    ],
)
def test_an_issuer_that_answers_nonsense_is_no_fault_of_the_token(
    shared_database: str, keys: dict[str, Any], path: str, answer: tuple[int, bytes, dict[str, str]]
) -> None:
    with running_issuer(keys) as issuer, running(oidc_issuer=issuer.url, oidc_audience=AUDIENCE) as api:
        issuer.instead[path] = answer
        unavailable(ask(api, issuer.token()))
        assert "/elsewhere" not in issuer.asked
        del issuer.instead[path]
        until_200(api, issuer.token())


def test_keys_of_an_issuer_that_calls_itself_otherwise_are_not_trusted(
    shared_database: str, keys: dict[str, Any]
) -> None:
    with running_issuer(keys) as issuer, running(oidc_issuer=issuer.url, oidc_audience=AUDIENCE) as api:
        body = json.dumps({"issuer": ELSEWHERE, "jwks_uri": issuer.url + JWKS}).encode()
        issuer.instead[CONFIGURATION] = (200, body, {})
        unavailable(ask(api, issuer.token()))
        assert JWKS not in issuer.asked


def test_a_file_is_no_place_for_keys(shared_database: str, keys: dict[str, Any]) -> None:
    with running_issuer(keys) as issuer, running(oidc_issuer=issuer.url, oidc_audience=AUDIENCE) as api:
        body = json.dumps({"issuer": issuer.url, "jwks_uri": "file:///etc/hostname"}).encode()
        issuer.instead[CONFIGURATION] = (200, body, {})
        unavailable(ask(api, issuer.token()))


def test_a_new_key_is_taken_at_once_and_the_old_one_no_longer(shared_database: str, keys: dict[str, Any]) -> None:
    with running_issuer({"rsa": keys["rsa"]}) as issuer, running(oidc_issuer=issuer.url, oidc_audience=AUDIENCE) as api:
        old = issuer.token()
        assert ask(api, old).status_code == 200
        new_key = new_rsa()
        issuer.keys = {"rotated": new_key}
        assert ask(api, issuer.token(key=new_key, header={"kid": "rotated"})).status_code == 200
        refused(ask(api, old), "does not have")


def test_made_up_keys_are_no_flood_at_the_issuer(shared_database: str, keys: dict[str, Any]) -> None:
    with running_issuer({"rsa": keys["rsa"]}) as issuer, running(oidc_issuer=issuer.url, oidc_audience=AUDIENCE) as api:
        for number in range(40):
            refused(ask(api, issuer.token(header={"kid": f"made-up-{number}"})), "does not have")
        assert 1 < issuer.asked.count(JWKS) < 10
        assert ask(api, issuer.token()).status_code == 200


def test_keys_may_be_where_the_settings_say(shared_database: str, keys: dict[str, Any]) -> None:
    with (
        running_issuer(keys) as issuer,
        running(
            oidc_issuer="https://login.example.org/", oidc_audience=AUDIENCE, oidc_jwks_url=issuer.url + JWKS
        ) as api,
    ):
        assert ask(api, issuer.token(iss="https://login.example.org/")).status_code == 200
        refused(ask(api, issuer.token()), "another issuer")
        assert set(issuer.asked) == {JWKS}


# ---- reading


@pytest.fixture(scope="module")
def closed(shared_database: str, issuer: TestIssuer) -> Iterator[Api]:
    with running(oidc_issuer=issuer.url, oidc_audience=AUDIENCE, open_reading=False) as one:
        yield one


EXEMPT = ["/_mgmt/ping", "/_mgmt/health", "/_mgmt/metrics", "/api", "/api.html"]


def operations(api: Api) -> list[tuple[str, str]]:
    """Every method and path of the API, as its own document has them."""
    paths = api.get("/api").json()["paths"]
    return [
        (method.upper(), re.sub(r"\{[^}]+\}", "x", path))
        for path, methods in paths.items()
        for method in methods
        if path not in EXEMPT
    ]


def test_closed_reading_lets_nobody_in_without_a_token(closed: Api, issuer: TestIssuer) -> None:
    asked = operations(closed)
    assert {("GET", "/"), ("GET", "/search"), ("POST", "/search"), ("GET", "/jobs"), ("GET", "/decisions")} <= {*asked}
    for method, path in [
        *asked,
        ("GET", "/no/such/path"),
        ("HEAD", "/collections"),
        ("OPTIONS", "/jobs"),
        ("GET", "/_mgmt/ping/"),
    ]:
        answer = ask(closed, None, method, path, json={}, allow_redirects=False)
        assert (answer.status_code, answer.headers.get("www-authenticate")) == (401, ALONE), (method, path)


def test_closed_reading_lets_everyone_in_with_one(closed: Api, issuer: TestIssuer, shared_database: str) -> None:
    for token in (issuer.token(), own_token(shared_database)[1]):
        for path in ("/", "/collections", "/search", "/jobs", "/decisions", "/conformance"):
            assert ask(closed, token, path=path).status_code == 200, path


@pytest.mark.parametrize("path", EXEMPT)
@pytest.mark.parametrize("token", [None, "garbage"])
def test_probes_and_documents_are_open_to_all(closed: Api, path: str, token: str | None) -> None:
    answer = ask(closed, token, path=path)
    # Nothing is set up here but the database, and health says so.
    assert answer.status_code == (503 if path == "/_mgmt/health" else 200)
    assert "www-authenticate" not in answer.headers


def test_open_reading_shows_in_the_document_which_routes_need_a_token(api: Api, closed: Api) -> None:
    def needing(one: Api) -> set[str]:
        paths = one.get("/api").json()["paths"]
        return {
            f"{m} {p}" for p, methods in paths.items() for m, operation in methods.items() if "security" in operation
        }

    assert {"post /registry/grants", "get /registry/grants", "post /collections"} <= needing(api)
    assert not {"get /jobs", "get /collections", "get /", "get /decisions", "get /_mgmt/ping"} & needing(api)
    assert {"get /jobs", "get /collections", "get /", "get /decisions", "post /search"} <= needing(closed)
    assert not {"get /_mgmt/ping", "get /_mgmt/health"} & needing(closed)


def test_a_browser_may_ask_before_it_sends_a_token_and_may_read_the_refusal(closed: Api) -> None:
    origin = {"Origin": "https://browser.example.org"}
    preflight = requests.options(
        f"{closed.url}/collections/x",
        headers={
            **origin,
            "Access-Control-Request-Method": "PUT",
            "Access-Control-Request-Headers": "authorization,content-type,x-request-id",
        },
        timeout=30,
    )
    assert preflight.status_code == 200, preflight.text
    assert "PUT" in preflight.headers["access-control-allow-methods"]
    answer = requests.get(f"{closed.url}/collections", headers=origin, timeout=30)
    assert answer.status_code == 401
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "WWW-Authenticate" in answer.headers["access-control-expose-headers"]


class Unforeseen(Exception):
    """A defect of a route."""


async def called(app: Any, path: str) -> tuple[int, dict[str, str]]:
    """Status and headers of a GET without HTTP between, for an application behind a proxy's path."""
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"test"), (b"x-request-id", b"abc-1")],
        "server": ("test", 80),
        "client": ("127.0.0.1", 1),
    }
    # What is unforeseen is raised again for the server's log, after it was answered.
    with suppress(Unforeseen):
        await app(scope, receive, send)
    return sent[0]["status"], {name.decode().lower(): value.decode() for name, value in sent[0]["headers"]}


async def test_behind_the_path_of_a_proxy_the_same_is_open() -> None:
    app = create_app(Settings(open_reading=False, root_path="/stac"))
    assert (await called(app, "/stac/_mgmt/ping"))[0] == 200
    assert (await called(app, "/_mgmt/ping"))[0] == 200
    assert (await called(app, "/stac/collections"))[0] == 401
    assert (await called(app, "/stac/stac/_mgmt/ping"))[0] == 401


# ---- the names of requests


def test_a_request_keeps_the_name_that_it_came_with(api: Api) -> None:
    answer = requests.get(f"{api.url}/_mgmt/ping", headers={"X-Request-ID": "1-67891233-abcdef"}, timeout=30)
    assert answer.headers["x-request-id"] == "1-67891233-abcdef"


@pytest.mark.parametrize("sent", [None, "", "two words", "x" * 129, '{"event": "forged"}'])
def test_a_request_without_a_usable_name_gets_one_of_its_own(api: Api, sent: str | None) -> None:
    headers = {} if sent is None else {"X-Request-ID": sent}
    names = [requests.get(f"{api.url}/jobs", headers=headers, timeout=30).headers["x-request-id"] for _ in range(2)]
    assert all(re.fullmatch(r"[0-9a-f-]{36}", name) for name in names)
    assert names[0] != names[1]


def test_refusals_have_the_name_too(api: Api) -> None:
    answer = requests.get(
        f"{api.url}/jobs", headers={"Authorization": "Bearer x", "X-Request-ID": "refused-1"}, timeout=30
    )
    assert (answer.status_code, answer.headers["x-request-id"]) == (401, "refused-1")


async def test_what_went_wrong_unforeseen_has_the_name_too() -> None:
    app = create_app(Settings())

    @app.get("/broken")
    def broken() -> None:
        raise Unforeseen

    status, headers = await called(app, "/broken")
    assert (status, headers["x-request-id"]) == (500, "abc-1")


def test_events_of_a_request_have_its_name(api: Api, shared_database: str, capsys: pytest.CaptureFixture[str]) -> None:
    _, secret = own_token(shared_database, "bea", admin=True)
    capsys.readouterr()
    answer = requests.post(
        f"{api.url}/registry/grants",
        headers={"Authorization": f"Bearer {secret}", "X-Request-ID": "grant-1"},
        json={"collection": "maap-*", "users": ["ana"], "reason": "campaign"},
        timeout=30,
    )
    assert answer.status_code == 201, answer.text
    events = [json.loads(line) for line in capsys.readouterr().err.splitlines() if line.startswith("{")]
    changed = [event for event in events if event["event"] == "registry.changed"]
    assert [(event["request_id"], event["by"]) for event in changed] == [("grant-1", "bea")]
