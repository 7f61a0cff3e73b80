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
import socket
import ssl
import threading
import time
from dataclasses import dataclass
from typing import Any, ClassVar, Final
from urllib.parse import urlencode, urlsplit

import urllib3
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from entrepot.client.errors import DestinationForbidden
from entrepot.client.reach import Reach, guarded_pools
from entrepot.errors import InvalidInput, Unavailable
from entrepot.server.access.decision.errors import InvalidCredentials, NotAdmitted
from entrepot.server.access.sign_in.sources.base import Person
from entrepot.server.access.sign_in.sources.claims import check_claims, check_nonce, groups_of, text_of
from entrepot.server.access.sign_in.sources.outbound import Deadline

__all__ = [
    "WELL_KNOWN_ISSUERS",
    "OidcIssuer",
    "OidcProvider",
    "OidcSettings",
    "OidcUnavailable",
    "SignInAttempt",
]

ALGORITHMS: Final = ["RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA"]
WELL_KNOWN_ISSUERS: Final = frozenset(
    {
        "https://token.actions.githubusercontent.com",
        "https://gitlab.com",
        "https://oidc.circleci.com",
        "https://agent.buildkite.com",
        "https://accounts.google.com",
        "https://app.terraform.io",
    }
)
"""Issuers anybody may name in a rule. The server fetches an issuer's keys: others are for admins to name."""
_TIMEOUT_S: Final = 5.0
_MAX_DOCUMENT_BYTES: Final = 1024 * 1024
_DOCUMENT_LIFE_S: Final = 3600.0
_MIN_REFRESH_S: Final = 60.0
_ASK_AGAIN_S: Final = 10.0
"""So long an issuer that could not be asked is not asked again: each try may hold a thread for as long."""
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
        self._ca_file = ca_file or None
        self._trust: ssl.SSLContext | None = None
        self._reach: Reach | None = None
        self._lock = threading.Lock()
        self._metadata: dict[str, Any] = {}
        self._keys: KeySet | None = None
        self._fetched_at = -_DOCUMENT_LIFE_S
        self._failed_at = -_ASK_AGAIN_S

    def endpoint(self, name: str) -> str:
        """An address out of the discovery document. Raises OidcUnavailable."""
        with self._lock:
            self._refresh_if_old()
            found = self._metadata.get(name)
        if not isinstance(found, str):
            raise OidcUnavailable(f"{self.url} publishes no {name}")
        return found

    def claims(
        self, token: str, *, audience: str, of_a_person: bool = False, now: float | None = None
    ) -> dict[str, Any]:
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
            check_claims(
                decoded.claims, issuer=issuer, audience=audience, now=moment, of_a_person=of_a_person
            )
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
                self._check_endpoint(str(document[name]))
        keys = self._ask("GET", str(document.get("jwks_uri", "")))
        try:
            self._keys = KeySet.import_key_set(keys)  # type: ignore[arg-type]
        except (JoseError, ValueError, KeyError, TypeError) as error:
            raise OidcUnavailable(f"{self.url} publishes keys that can't be read") from error
        self._metadata = document
        self._fetched_at = time.monotonic()

    def _check_endpoint(self, url: str) -> None:
        try:
            _check_url(url)
        except InvalidInput as error:
            raise OidcUnavailable(f"{self.url} publishes an address that is not https") from error

    def _ask(
        self, method: str, url: str, *, body: str | None = None, headers: dict[str, str] | None = None
    ) -> dict[str, Any]:
        sent = {"Accept": "application/json", **(headers or {})}
        if body is not None:
            sent["Content-Type"] = "application/x-www-form-urlencoded"
        try:
            status, data = self._exchange(method, url, body, sent)
        except DestinationForbidden as error:
            raise OidcUnavailable(f"{self.url} leads to {url}, refused: {error.message}") from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise OidcUnavailable(f"{self.url} could not be asked: {type(error).__name__}") from error
        if 400 <= status < 500 and method == "POST":
            raise InvalidCredentials(f"{self.url} refused the sign-in")
        try:
            document = json.loads(data) if status == 200 and len(data) <= _MAX_DOCUMENT_BYTES else None
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            raise OidcUnavailable(f"{self.url} answered {status} without a JSON document")
        return document

    def _exchange(
        self, method: str, url: str, body: str | None, headers: dict[str, str]
    ) -> tuple[int, bytes]:
        """Status and the beginning of the body."""
        reached: list[Reach] = []
        if self._trust is None:
            self._trust = ssl.create_default_context(cafile=self._ca_file)
        with (
            Deadline() as deadline,
            urllib3.PoolManager(
                timeout=urllib3.Timeout(_TIMEOUT_S), retries=False, ssl_context=self._trust
            ) as pool,
        ):

            def connected(_host: str, made: socket.socket, reach: Reach) -> None:
                deadline.watch(made)
                reached.append(reach)

            pool.pool_classes_by_scheme = guarded_pools(self._most_for(url), connected=connected)
            response = pool.request(
                method, url, body=body, headers=headers, redirect=False, preload_content=False
            )
            data = response.read(_MAX_DOCUMENT_BYTES + 1)
            response.close()
        if self._reach is None:
            self._reach = max(reached)
        return response.status, data

    def _most_for(self, url: str) -> Reach:
        """An admin chose the issuer, which may be anywhere; its documents lead no further inside."""
        if self.url in WELL_KNOWN_ISSUERS:
            return Reach.PUBLIC
        own = urlsplit(url).hostname == urlsplit(self.url).hostname
        return Reach.STRANGE if own or self._reach is None else self._reach


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
        endpoint = self._issuer.endpoint("authorization_endpoint")
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

    def finish(self, attempt: SignInAttempt, code: str, redirect_uri: str) -> Person:
        """Exchange the code. Raises InvalidCredentials, OidcUnavailable."""
        answer = self._issuer.post_form(
            self._issuer.endpoint("token_endpoint"),
            {
                "grant_type": "authorization_code",
                "code": code,
                "redirect_uri": redirect_uri,
                "code_verifier": attempt.verifier,
            },
            {"Authorization": _basic(self.settings.client_id, self._client_secret)},
        )
        claims = self._issuer.claims(
            str(answer.get("id_token", "")), audience=self.settings.client_id, of_a_person=True
        )
        check_nonce(claims, attempt.nonce)
        return self._person(claims)

    def _person(self, claims: dict[str, Any]) -> Person:
        settings = self.settings
        groups = groups_of(claims.get(settings.groups_claim))
        if settings.allowed_groups and not set(settings.allowed_groups) & set(groups or ()):
            raise NotAdmitted(f"none of your groups at {settings.title or self.name} may sign in here")
        called = (text_of(claims.get(claim)) for claim in (settings.name_claim, "email", "sub"))
        return Person(
            subject=str(claims["sub"]),
            name=next(filter(None, called)).lower(),
            display_name=text_of(claims.get("name")),
            email=text_of(claims.get("email")) if claims.get("email_verified", True) else "",
            groups=groups,
            is_admin=settings.admin_group in (groups or ()) if settings.admin_group else None,
        )


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
    except ValueError:
        raise InvalidInput(f"{url!r} is not an address") from None
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        return
    raise InvalidInput(f"{url} is not an https address", hint="plain http is for localhost only")


def _basic(name: str, secret: str) -> str:
    # RFC 6749 2.3.1: both are form-encoded first.
    pair = f"{urlencode({'': name})[1:]}:{urlencode({'': secret})[1:]}"
    return "Basic " + base64.b64encode(pair.encode()).decode()
