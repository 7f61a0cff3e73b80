"""OpenID Connect: people sign in at a provider with their browser; CI systems bring tokens of theirs.

Authorization code flow with PKCE, `state` and `nonce`; the provider's keys and endpoints come from its
discovery document. Algorithms are those of public keys only, chosen here and never by the token.
OpenID Connect Core 3.1, RFC 7636.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from dataclasses import dataclass
from typing import Any, ClassVar, Final
from urllib.parse import urlencode, urlsplit

import urllib3
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from entrepot.errors import InvalidInput, Unavailable
from entrepot.server.access.decision.errors import InvalidCredentials, NotAdmitted
from entrepot.server.access.sign_in.sources.base import Person

__all__ = ["OidcIssuer", "OidcProvider", "OidcSettings", "OidcUnavailable", "SignInAttempt"]

ALGORITHMS: Final = ["RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA"]
_MAX_DOCUMENT_BYTES: Final = 1024 * 1024
_DOCUMENT_LIFE_S: Final = 3600.0
_MIN_REFRESH_S: Final = 60.0
_ASK_AGAIN_S: Final = 10.0
"""So long an issuer that could not be asked is not asked again: each try may hold a thread for as long."""
_SKEW_S: Final = 60
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class OidcUnavailable(Unavailable):
    """The provider could not be asked."""

    code: ClassVar[str] = "oidc-unavailable"


class OidcIssuer:
    """An issuer's published documents: endpoints and keys. Blocking; call from a thread.

    Keys are fetched again when a token names one that is not there, at most once a minute.
    """

    def __init__(self, url: str, *, ca_file: str | None = None) -> None:
        self.url = url.rstrip("/")
        _check_url(self.url)
        self._pool = urllib3.PoolManager(
            timeout=urllib3.Timeout(10.0), retries=False, ca_certs=ca_file or None, cert_reqs="CERT_REQUIRED"
        )
        self._lock = threading.Lock()
        self._metadata: dict[str, Any] = {}
        self._keys: KeySet | None = None
        self._fetched_at = -_DOCUMENT_LIFE_S
        self._failed_at = -_ASK_AGAIN_S

    def metadata(self) -> dict[str, Any]:
        """The discovery document. Raises OidcUnavailable."""
        with self._lock:
            self._refresh_if_old()
            return self._metadata

    def claims(self, token: str, *, audience: str, now: float | None = None) -> dict[str, Any]:
        """Verified claims of a token of this issuer. Raises InvalidCredentials, OidcUnavailable."""
        moment = time.time() if now is None else now
        for attempt in (1, 2):
            with self._lock:
                self._refresh_if_old(at_least_s=_DOCUMENT_LIFE_S if attempt == 1 else _MIN_REFRESH_S)
                keys, issuer = self._keys, str(self._metadata.get("issuer", ""))
            if keys is None:
                break
            try:
                decoded = jwt.decode(token, keys, algorithms=ALGORITHMS)
            except ValueError:
                continue  # no key of that id: perhaps a new one
            except JoseError:
                break
            _check_claims(decoded.claims, issuer=issuer, audience=audience, now=moment)
            return dict(decoded.claims)
        raise InvalidCredentials(f"the token was not signed by {self.url}")

    def post_form(self, url: str, fields: dict[str, str], headers: dict[str, str]) -> dict[str, Any]:
        """POST to one of the issuer's endpoints. Raises InvalidCredentials for a 4xx, OidcUnavailable."""
        return self._ask("POST", url, body=urlencode(fields), headers=headers)

    def _refresh_if_old(self, *, at_least_s: float = _DOCUMENT_LIFE_S) -> None:
        if time.monotonic() - self._fetched_at < at_least_s and self._keys is not None:
            return
        if time.monotonic() - self._failed_at < _ASK_AGAIN_S:
            raise OidcUnavailable(f"{self.url} could not be asked a moment ago")
        try:
            self._refresh()
        except OidcUnavailable:
            self._failed_at = time.monotonic()
            raise

    def _refresh(self) -> None:
        document = self._ask("GET", f"{self.url}/.well-known/openid-configuration")
        if str(document.get("issuer", "")).rstrip("/") != self.url:
            raise OidcUnavailable(f"{self.url} says it is another issuer")
        for name in ("jwks_uri", "authorization_endpoint", "token_endpoint"):
            if name in document:
                _check_url(str(document[name]))
        keys = self._ask("GET", str(document.get("jwks_uri", "")))
        try:
            self._keys = KeySet.import_key_set(keys)  # type: ignore[arg-type]
        except (JoseError, ValueError, KeyError) as error:
            raise OidcUnavailable(f"{self.url} publishes keys that can't be read") from error
        self._metadata = document
        self._fetched_at = time.monotonic()

    def _ask(
        self, method: str, url: str, *, body: str | None = None, headers: dict[str, str] | None = None
    ) -> dict[str, Any]:
        sent = {"Accept": "application/json", **(headers or {})}
        if body is not None:
            sent["Content-Type"] = "application/x-www-form-urlencoded"
        try:
            response = self._pool.request(
                method, url, body=body, headers=sent, redirect=False, preload_content=False
            )
            data = response.read(_MAX_DOCUMENT_BYTES + 1)
            response.close()
        except urllib3.exceptions.HTTPError as error:
            raise OidcUnavailable(f"{self.url} could not be asked: {type(error).__name__}") from error
        if 400 <= response.status < 500 and method == "POST":
            raise InvalidCredentials(f"{self.url} refused the sign-in")
        try:
            document = (
                json.loads(data) if response.status == 200 and len(data) <= _MAX_DOCUMENT_BYTES else None
            )
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise OidcUnavailable(f"{self.url} answered {response.status} without a JSON document")
        return document


@dataclass(frozen=True, slots=True)
class OidcSettings:
    """How people sign in at a provider."""

    issuer: str
    client_id: str
    title: str = ""
    """What the button says."""
    scopes: str = "openid profile email"
    name_claim: str = "preferred_username"
    groups_claim: str = "groups"
    admin_group: str = ""
    """Members are admins of the registry; empty: the provider says nothing about admins."""
    allowed_groups: tuple[str, ...] = ()
    """Only members of one of these may sign in; empty: everybody the provider knows."""
    ca_file: str = ""


@dataclass(frozen=True, slots=True)
class SignInAttempt:
    """What has to be remembered between leaving for the provider and coming back."""

    state: str
    nonce: str
    verifier: str


class OidcProvider:
    """One provider. Blocking; call from a thread."""

    def __init__(self, name: str, settings: OidcSettings, client_secret: str) -> None:
        self.name = name
        self.settings = settings
        self._client_secret = client_secret
        self._issuer = OidcIssuer(settings.issuer, ca_file=settings.ca_file or None)

    def begin(self, redirect_uri: str) -> tuple[str, SignInAttempt]:
        """The URL to send the browser to, and what to remember."""
        attempt = SignInAttempt(*(secrets.token_urlsafe(32) for _ in range(3)))
        challenge = hashlib.sha256(attempt.verifier.encode()).digest()
        endpoint = str(self._issuer.metadata()["authorization_endpoint"])
        query = urlencode(
            {
                "response_type": "code",
                "client_id": self.settings.client_id,
                "redirect_uri": redirect_uri,
                "scope": self.settings.scopes,
                "state": attempt.state,
                "nonce": attempt.nonce,
                "code_challenge": base64.urlsafe_b64encode(challenge).rstrip(b"=").decode(),
                "code_challenge_method": "S256",
            }
        )
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{query}", attempt

    def finish(self, attempt: SignInAttempt, *, code: str, redirect_uri: str) -> Person:
        """Exchange the code. Raises InvalidCredentials, OidcUnavailable."""
        metadata = self._issuer.metadata()
        answer = self._issuer.post_form(
            str(metadata["token_endpoint"]),
            {
                "grant_type": "authorization_code",
                "code": code,
                "redirect_uri": redirect_uri,
                "code_verifier": attempt.verifier,
            },
            {"Authorization": _basic(self.settings.client_id, self._client_secret)},
        )
        claims = self._issuer.claims(str(answer.get("id_token", "")), audience=self.settings.client_id)
        if not secrets.compare_digest(str(claims.get("nonce", "")), attempt.nonce):
            raise InvalidCredentials("the sign-in does not belong to this browser; start again")
        return self._person(claims)

    def _person(self, claims: dict[str, Any]) -> Person:
        settings = self.settings
        groups = _groups(claims.get(settings.groups_claim))
        if settings.allowed_groups and not set(settings.allowed_groups) & set(groups or ()):
            raise NotAdmitted(f"none of your groups at {settings.title or self.name} may sign in here")
        name = claims.get(settings.name_claim) or claims.get("email") or claims.get("sub")
        return Person(
            subject=str(claims["sub"]),
            name=str(name).lower(),
            display_name=str(claims.get("name", "")),
            email=str(claims.get("email", "")) if claims.get("email_verified", True) else "",
            groups=groups,
            is_admin=settings.admin_group in (groups or ()) if settings.admin_group else None,
        )


def _groups(value: Any) -> tuple[str, ...] | None:
    if value is None:
        return None
    if isinstance(value, str):
        return tuple(value.split())
    return tuple(str(item) for item in value) if isinstance(value, list) else ()


def _check_claims(claims: dict[str, Any], *, issuer: str, audience: str, now: float) -> None:
    meant_for = claims.get("aud")
    audiences = meant_for if isinstance(meant_for, list) else [meant_for]
    expires = claims.get("exp")
    if claims.get("iss") != issuer or audience not in audiences or not isinstance(claims.get("sub"), str):
        raise InvalidCredentials("the token was made for somebody else")
    if len(audiences) > 1 and claims.get("azp") not in {None, audience}:
        raise InvalidCredentials("the token was made for somebody else")
    if not isinstance(expires, int | float) or now >= expires + _SKEW_S:
        raise InvalidCredentials("the token has expired")
    for name in ("nbf", "iat"):
        moment = claims.get(name)
        if moment is not None and (not isinstance(moment, int | float) or moment > now + _SKEW_S):
            raise InvalidCredentials("the token is not valid yet")


def _check_url(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        return
    raise InvalidInput(f"{url} is not an https address", hint="plain http is for localhost only")


def _basic(name: str, secret: str) -> str:
    # RFC 6749 2.3.1: both are form-encoded first.
    pair = f"{urlencode({'': name})[1:]}:{urlencode({'': secret})[1:]}"
    return "Basic " + base64.b64encode(pair.encode()).decode()
