"""Answering a registry's challenge: Basic, or tokens from a token server.

The rules that keep credentials where they belong:

* An `Authorization` header is made for one origin only; `session` sends it nowhere else.
* Password and identity token go to the registry's own host, or to a token server that is known for that
  registry or named in `token-realms`. Anywhere else the request for a token is anonymous or not made at all.
* A token server of an https registry speaks https. It may not redirect.

Tokens are cached by what they allow and renewed before they expire.
"""

from __future__ import annotations

import json
import logging
import math
import threading
import time
from collections.abc import Callable, Iterable
from urllib.parse import urlencode

import msgspec

from entrepot.client.answers import read_errors
from entrepot.client.challenge import Challenge
from entrepot.client.credentials import Credential
from entrepot.client.errors import (
    AccessDenied,
    AuthenticationFailed,
    DestinationForbidden,
    RegistryFailed,
    RegistryMisbehaved,
    RegistryUnreachable,
)
from entrepot.client.hosts import RegistryHost, is_loopback
from entrepot.client.reach import Reach, literal_reach
from entrepot.client.retry import RETRIED_STATUSES, parse_retry_after
from entrepot.client.transport import Answer, ConnectionBroken, Origin

log = logging.getLogger(__name__)

TOKEN_BYTES = 1024 * 1024
MIN_LIFETIME_S = 60.0
_RENEW_BEFORE_S = 15.0

Send = Callable[[str, str, dict[str, str], bytes | None], Answer]
"""Method, URL, headers, body: one request to a token server, not followed when it redirects."""


class Grants(msgspec.Struct, frozen=True):
    """A set of (type, name, action): what scopes ask for. Sets make merging and covering plain."""

    items: frozenset[tuple[str, str, str]] = frozenset()

    @classmethod
    def parse(cls, scopes: Iterable[str]) -> Grants:
        """From `type:name:action,action` strings; names may contain colons."""
        found: set[tuple[str, str, str]] = set()
        for scope in scopes:
            kind, _, rest = scope.partition(":")
            name, _, actions = rest.rpartition(":")
            found.update((kind, name, action) for action in actions.split(",") if name and action)
        return cls(frozenset(found))

    def merged(self, other: Grants) -> Grants:
        return Grants(self.items | other.items)

    def covers(self, other: Grants) -> bool:
        return self.items >= other.items

    def scopes(self) -> list[str]:
        """One scope string a resource, sorted; actions in the order docker sends them (`pull,push`)."""
        by_resource: dict[tuple[str, str], list[str]] = {}
        for kind, name, action in sorted(self.items):
            by_resource.setdefault((kind, name), []).append(action)
        return [f"{kind}:{name}:{','.join(actions)}" for (kind, name), actions in by_resource.items()]


class _Token(msgspec.Struct, frozen=True):
    value: str
    grants: Grants
    expires_at: float


class TokenAnswer(msgspec.Struct, frozen=True):
    """What a token server gave."""

    token: str
    refresh_token: str
    lifetime_s: float


class Authorizer:
    """One account (or none) at one registry. Thread safe."""

    def __init__(
        self,
        endpoint: RegistryHost,
        credential: Credential | None,
        send: Send,
        *,
        client_id: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._endpoint = endpoint
        self._credential = credential
        self._send = send
        self._client_id = client_id
        self._clock = clock
        self._lock = threading.Lock()
        self._challenge: Challenge | None = None
        self._tokens: list[_Token] = []

    @property
    def anonymous(self) -> bool:
        return self._credential is None

    def header(self, origin: Origin, grants: Grants) -> str | None:
        """The `Authorization` for `origin` (the registry's); None when nothing is known to be asked for."""
        with self._lock:
            return self._header(origin, grants)

    def challenged(
        self, origin: Origin, challenges: tuple[Challenge, ...], grants: Grants, sent: str | None
    ) -> str | None:
        """The `Authorization` to try after a 401 to `sent`; None when there is no better one."""
        chosen = _choose(challenges)
        if chosen is None:
            return None
        with self._lock:
            self._challenge = chosen
            if chosen.scheme == "bearer" and sent is not None:
                self._tokens = [token for token in self._tokens if f"Bearer {token.value}" != sent]
            header = self._header(origin, grants.merged(Grants.parse(chosen.scopes)))
        return header if header != sent else None

    def learn(self, challenges: tuple[Challenge, ...]) -> None:
        """Note the challenge of a first contact, so that later requests carry an answer at once."""
        chosen = _choose(challenges)
        if chosen is not None:
            with self._lock:
                if self._challenge is None:
                    self._challenge = chosen

    def check_login(self, origin: Origin) -> TokenAnswer | None:
        """Ask the token server for an offline token: proves the password. None where there is no such server.

        Raises AuthenticationFailed.
        """
        with self._lock:
            if self._challenge is None or self._challenge.scheme != "bearer":
                return None
            return self._request_token(origin, self._challenge, Grants(), offline=True)

    def _header(self, origin: Origin, grants: Grants) -> str | None:
        challenge, credential = self._challenge, self._credential
        if challenge is None:
            return None
        if challenge.scheme == "basic":
            if credential is None or not credential.password:
                return None
            return credential.basic
        if credential is not None and credential.registry_token:
            return f"Bearer {credential.registry_token}"
        now = self._clock()
        self._tokens = [token for token in self._tokens if token.expires_at > now]
        for token in self._tokens:
            if token.grants.covers(grants):
                return f"Bearer {token.value}"
        answer = self._request_token(origin, challenge, grants, offline=False)
        lifetime = max(answer.lifetime_s, MIN_LIFETIME_S)
        self._tokens.append(_Token(answer.token, grants, now + lifetime - _RENEW_BEFORE_S))
        return f"Bearer {answer.token}"

    def _request_token(
        self, origin: Origin, challenge: Challenge, grants: Grants, *, offline: bool
    ) -> TokenAnswer:
        realm = challenge.realm
        with_secret = self._judge_realm(origin, realm)
        credential = self._credential if with_secret else None
        scopes = grants.scopes()
        try:
            if credential is not None and credential.identity_token:
                form = {"grant_type": "refresh_token", "refresh_token": credential.identity_token}
                answer = self._post(realm, challenge, scopes, form)
            else:
                answer = self._get(realm, challenge, scopes, credential, offline=offline)
                if answer.status == 405 and credential is not None:
                    answer.discard()
                    form = {
                        "grant_type": "password",
                        "username": credential.username,
                        "password": credential.password,
                    }
                    if offline:
                        form["access_type"] = "offline"
                    answer = self._post(realm, challenge, scopes, form)
            return self._read(answer, realm, at_login=offline)
        except ConnectionBroken as error:
            server, registry = Origin.of(realm), self._endpoint.registry
            raise RegistryUnreachable(
                f"the token server {server} of {registry} did not answer: {error.reason}"
            ) from error

    def _get(
        self,
        realm: str,
        challenge: Challenge,
        scopes: list[str],
        credential: Credential | None,
        *,
        offline: bool,
    ) -> Answer:
        query: list[tuple[str, str]] = []
        if challenge.service:
            query.append(("service", challenge.service))
        query.extend(("scope", scope) for scope in scopes)
        headers = {}
        if credential is not None:
            headers["Authorization"] = credential.basic
            query.append(("account", credential.username))
        if offline:
            query.append(("offline_token", "true"))
        query.append(("client_id", self._client_id))
        separator = "&" if "?" in realm else "?"
        return self._send("GET", f"{realm}{separator}{urlencode(query)}", headers, None)

    def _post(self, realm: str, challenge: Challenge, scopes: list[str], form: dict[str, str]) -> Answer:
        fields = {**form, "client_id": self._client_id}
        if challenge.service:
            fields["service"] = challenge.service
        if scopes:
            fields["scope"] = " ".join(scopes)
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return self._send("POST", realm, headers, urlencode(fields).encode())

    def _read(self, answer: Answer, realm: str, *, at_login: bool) -> TokenAnswer:
        server = Origin.of(realm)
        if 300 <= answer.status < 400:
            answer.close()
            raise DestinationForbidden(f"the token server {server} redirects; that is not followed")
        if answer.status in {400, 401}:
            detail = read_errors(answer)
            said = str(detail) or "authentication required"
            if self.anonymous:
                raise AccessDenied(said, hint=f"log in with: entrepot login {self._endpoint.registry}")
            raise AuthenticationFailed(
                said if detail.message else "unauthorized: incorrect username or password",
                hint=None if at_login else f"log in again with: entrepot login {self._endpoint.registry}",
            )
        if answer.status == 403:
            raise AccessDenied(str(read_errors(answer)) or "denied: the token server refuses")
        if answer.status in RETRIED_STATUSES or answer.status >= 500:
            wait = parse_retry_after(answer.header("Retry-After"))
            answer.close()
            raise RegistryFailed(
                f"the token server {server} failed with status {answer.status}", retry_after_s=wait
            )
        if answer.status != 200:
            answer.close()
            raise RegistryMisbehaved(f"the token server {server} answered with status {answer.status}")
        return _parse_token(answer.read_capped(TOKEN_BYTES, "a token"), server)

    def _judge_realm(self, origin: Origin, realm: str) -> bool:
        """Whether our secret may go to `realm`. Raises DestinationForbidden when nothing at all may."""
        server = Origin.of(realm)
        registry = self._endpoint.registry
        if origin.scheme == "https" and server.scheme != "https":
            raise DestinationForbidden(f"{registry} names a token server without TLS ({server}); refused")
        if server == origin or any(server.is_host(host) for host in self._endpoint.token_realms):
            return True
        if is_loopback(origin.host):
            pass
        elif is_loopback(server.host) or (literal_reach(server.name) or Reach.PUBLIC) >= Reach.MACHINE:
            raise DestinationForbidden(f"{registry} names a token server on this machine ({server}); refused")
        if self._credential is not None:
            raise DestinationForbidden(
                f"{registry} wants the password to be sent to {server.host}, another host; refused",
                hint=f'if that is right, add to registries.toml: [registry."{registry}"] '
                f'token-realms = ["{server.host}"]',
            )
        return False


def _choose(challenges: tuple[Challenge, ...]) -> Challenge | None:
    """Bearer before Basic; anything else cannot be answered."""
    for challenge in challenges:
        if challenge.scheme == "bearer" and challenge.realm:
            return challenge
    for challenge in challenges:
        if challenge.scheme == "basic":
            return challenge
    return None


def _parse_token(body: bytes, server: Origin) -> TokenAnswer:
    try:
        document = json.loads(body)
        token = document.get("token") or document.get("access_token")
        lifetime = document.get("expires_in") or MIN_LIFETIME_S
        refresh = document.get("refresh_token") or ""
        if (
            not isinstance(token, str)
            or not isinstance(refresh, str)
            or not isinstance(lifetime, int | float)
        ):
            raise ValueError("no token in it")  # noqa: TRY004 - one handler for whatever is wrong with the body
        lifetime = float(lifetime)
        if not math.isfinite(lifetime):
            raise ValueError("its lifetime is no number")
    except (ValueError, OverflowError, AttributeError, RecursionError) as error:
        raise RegistryMisbehaved(f"the token server {server} gave no token: {error}") from error
    if not token.isascii() or not token.isprintable() or " " in token:
        raise RegistryMisbehaved(f"the token server {server} gave a token that cannot be sent")
    return TokenAnswer(token, refresh, lifetime)
