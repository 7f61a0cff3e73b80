"""CI jobs log in with the token their CI system gave them; nothing secret is stored there."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from tests.integration.accounts.conftest import Registry
from tests.support.images import image, push_image
from tests.support.wire import Wire

KEY = RSAKey.generate_key(2048, {"kid": "ci-1"})
OTHER = RSAKey.generate_key(2048, {"kid": "ci-2"})


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    """A CI system's identity provider: a discovery document and keys."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            base = f"http://localhost:{self.server.server_address[1]}"
            documents: dict[str, Any] = {
                "/.well-known/openid-configuration": {"issuer": base, "jwks_uri": f"{base}/keys"},
                "/keys": {"keys": [KEY.as_dict(private=False)]},
            }
            found = documents.get(self.path)
            body = json.dumps(found or {}).encode()
            self.send_response(200 if found else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_args: object) -> None:
            pass

    server = ThreadingHTTPServer(("localhost", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://localhost:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def trusting(registry: Registry, issuer: str) -> Registry:
    rule = {"issuer": issuer, "claims": {"repository": "acme/app", "ref": "refs/tags/v*"}}
    registry.api("POST", "/projects/acme/robots/acme+ci/trusts", rule)
    return registry


def job_token(issuer: str, *, key: RSAKey = KEY, **changed: Any) -> str:
    now = int(time.time())
    claims = {
        "iss": issuer,
        "aud": "entrepot",
        "sub": "repo:acme/app:ref:refs/tags/v1",
        "repository": "acme/app",
        "ref": "refs/tags/v1",
        "iat": now,
        "nbf": now,
        "exp": now + 300,
        **changed,
    }
    return jwt.encode({"alg": "RS256", "kid": key.kid}, claims, key)


def log_in(registry: Registry, name: str, password: str) -> Wire:
    registry.secrets[f"{name} now"] = password
    import base64

    pair = base64.b64encode(f"{name}:{password}".encode()).decode()
    return Wire(registry.server.port, headers={"Authorization": f"Basic {pair}"})


def test_job_logs_in_as_its_robot_and_pushes(trusting: Registry, issuer: str) -> None:
    wire = log_in(trusting, "acme+ci", job_token(issuer))
    assert wire("GET", "/v2/").status == 200
    token = wire("GET", "/token?scope=repository:acme/built:pull,push").json()["token"]
    bearer = Wire(trusting.server.port, headers={"Authorization": f"Bearer {token}"})
    push_image(bearer, "acme/built", "v1", image([{"built": b"by a job"}]))


def test_job_exchanges_its_token_without_naming_a_robot(trusting: Registry, issuer: str) -> None:
    from urllib.parse import urlencode

    form = urlencode(
        {
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "subject_token": job_token(issuer),
            "scope": "repository:acme/app:pull",
        }
    )
    answer = Wire(trusting.server.port)(
        "POST", "/token", body=form, headers={"Content-Type": "application/x-www-form-urlencoded"}
    )
    assert answer.status == 200
    assert answer.json()["scope"] == "repository:acme/app:pull"


@pytest.mark.parametrize(
    "changed",
    [
        {"repository": "evil/app"},
        {"repository": None},
        {"ref": "refs/heads/main"},
        {"aud": "someone-else"},
        {"aud": ["other"]},
        {"aud": ["entrepot", "other"]},
        {"aud": ["entrepot", "other"], "azp": ["entrepot"]},
        {"exp": 1_000_000_000},
        {"nbf": 4_000_000_000},
        {"iss": "http://localhost:1"},
        {"sub": None},
    ],
    ids=str,
)
def test_other_claims_are_refused(trusting: Registry, issuer: str, changed: dict[str, Any]) -> None:
    answer = log_in(trusting, "acme+ci", job_token(issuer, **changed))("GET", "/v2/")
    assert answer.status in {401, 429}


def test_key_of_somebody_else_is_refused(trusting: Registry, issuer: str) -> None:
    answer = log_in(trusting, "acme+ci", job_token(issuer, key=OTHER))("GET", "/v2/")
    assert answer.status in {401, 429}


def test_rule_that_would_take_any_job_is_refused(trusting: Registry, issuer: str) -> None:
    for claims in ({}, {"repository": "*"}, {"ref": "refs/tags/*"}, {"sub": "*:*"}):
        body = {"issuer": issuer, "claims": claims}
        answer = trusting.api("POST", "/projects/acme/robots/acme+ci/trusts", body, who="olga", ok=False)
        assert answer["status"] == 400
