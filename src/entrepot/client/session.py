"""Requests to one registry: found, authenticated, retried, redirected with care.

Order of a request:

1. first contact (once): `GET /v2/` over the schemes allowed, which also brings the challenge
2. the request with the `Authorization` already known for what it touches
3. a 401 is answered once with the challenge it carries
4. redirects are followed by hand, at most five, GET and HEAD only, without credentials elsewhere
5. 408, 429, 5xx and broken connections: again, after a pause that honours Retry-After
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterable
from urllib.parse import urlsplit

import msgspec

from entrepot.client.auth import Authorizer, Grants
from entrepot.client.challenge import Challenge, parse_challenges
from entrepot.client.credentials import Credential
from entrepot.client.errors import (
    CertificateUntrusted,
    DestinationForbidden,
    RegistryMisbehaved,
    RegistryUnreachable,
)
from entrepot.client.hosts import RegistryHost, Trust, check_host, endpoint_for
from entrepot.client.reach import Reach
from entrepot.client.retry import RETRIED_STATUSES, parse_retry_after
from entrepot.client.settings import ClientSettings
from entrepot.client.transport import Answer, ConnectionBroken, Origin, Transport, followed
from entrepot.content.protocols import CancelToken

log = logging.getLogger(__name__)

MAX_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
PING_TIMEOUT_S = 20.0


class Request(msgspec.Struct, frozen=True):
    """One request, complete but for its authorization."""

    method: str
    url: str
    """Absolute, or a path on the registry."""
    grants: Grants = msgspec.field(default_factory=Grants)
    """What a token for it must allow."""
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    body: bytes | None = None
    retried: bool = True
    """Whether sending it twice does no harm."""


class Session:
    """One registry host and the connections to it. Thread safe; several accounts may share it."""

    def __init__(
        self,
        endpoint: RegistryHost,
        settings: ClientSettings,
        *,
        cancel: CancelToken | None = None,
        sleep: Callable[[float], object] | None = None,
        draw: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
        heard: Callable[[Answer], object] | None = None,
    ) -> None:
        """`heard` is told of each answer of the registry itself, before its body is read."""
        self._heard = heard
        self.endpoint = endpoint
        self.settings = settings
        self.cancel = cancel or CancelToken()
        self._sleep = sleep or self.cancel.wait
        self._draw = draw
        self._clock = clock
        self._lock = threading.Lock()
        self._transports: dict[Trust, Transport] = {}
        self._authorizers: dict[Credential | None, Authorizer] = {}
        self._origin: Origin | None = None
        self._challenges: tuple[Challenge, ...] = ()

    @property
    def registry(self) -> str:
        return self.endpoint.registry

    def authorizer(self, credential: Credential | None) -> Authorizer:
        """The one answering challenges for an account; tokens are shared by all who use it."""
        with self._lock:
            found = self._authorizers.get(credential)
            if found is None:
                found = Authorizer(
                    self.endpoint,
                    credential,
                    self._send_to_token_server,
                    client_id=self.settings.client_id,
                    clock=self._clock,
                )
                self._authorizers[credential] = found
            found.learn(self._challenges)
            return found

    def origin(self) -> Origin:
        """Scheme, host and port in use. The first call makes contact; raises RegistryUnreachable."""
        with self._lock:
            if self._origin is None:
                self._origin, self._challenges = self._make_contact()
                for authorizer in self._authorizers.values():
                    authorizer.learn(self._challenges)
            return self._origin

    def request(
        self, request: Request, authorizer: Authorizer, *, cancel: CancelToken | None = None
    ) -> Answer:
        """The final answer, whatever its status; redirects, a 401 and hiccups are dealt with.

        Raises RegistryUnreachable, DestinationForbidden, RegistryMisbehaved, and the errors of token servers.
        """
        attempt = 1
        while True:
            (cancel or self.cancel).check()
            try:
                answer = self._authorized(request, authorizer)
            except ConnectionBroken as error:
                if not self._pause(attempt, None, request.retried or not error.sent):
                    raise self.unreachable(error) from error
            else:
                if answer.status not in RETRIED_STATUSES or not request.retried:
                    return answer
                if not self._pause(attempt, parse_retry_after(answer.header("Retry-After")), True, answer):
                    return answer
            attempt += 1

    def send_once(
        self,
        method: str,
        url: str,
        authorizer: Authorizer,
        grants: Grants,
        headers: dict[str, str],
        body: Iterable[memoryview],
    ) -> Answer:
        """A request whose body can be sent only once: no retry, no second 401. Raises ConnectionBroken."""
        origin = self.origin()
        absolute = self.absolute(url)
        complete = dict(headers)
        if Origin.of(absolute) == origin and (value := authorizer.header(origin, grants)):
            complete["Authorization"] = value
        most = self._most_for(Origin.of(absolute))
        return self._transport(self.endpoint.trust).send(method, absolute, complete, body, most=most)

    def absolute(self, url: str) -> str:
        """`url` resolved against the registry. Raises DestinationForbidden when it is none."""
        return followed(f"{self.origin()}/", url)

    def on_registry(self, url: str, what: str) -> str:
        """`url` made absolute; it must be on the registry itself. Raises DestinationForbidden."""
        absolute = self.absolute(url)
        target, origin = Origin.of(absolute), self.origin()
        if target != origin:
            raise DestinationForbidden(
                f"registry {self.registry} sends {what} to {target}, which is not {origin}; refused",
                hint="behind a proxy, a registry has to know its external address or use relative locations",
            )
        return absolute

    def unreachable(self, error: ConnectionBroken) -> RegistryUnreachable:
        """The error for a connection that broke for good."""
        if error.untrusted:
            return CertificateUntrusted(
                f"registry {self.registry}: {error.reason}",
                hint=f'give its authority in registries.toml: [registry."{self.registry}"] ca = "FILE", '
                "or pass --insecure",
            )
        if error.tls:
            return RegistryUnreachable(
                f"registry {self.registry} does not answer in TLS ({error.reason})",
                hint="if it speaks plain HTTP, pass --insecure, or in registries.toml: "
                f'[registry."{self.registry}"] plain-http = true',
            )
        return RegistryUnreachable(
            f"registry {self.registry}: {error.reason}", hint="is it running and reachable?"
        )

    def pause(self, attempt: int) -> bool:
        """Wait before trying again what failed `attempt` times; False when it is enough."""
        return self._pause(attempt, None, True)

    def close(self) -> None:
        with self._lock:
            for transport in self._transports.values():
                transport.close()

    # One try

    def _authorized(self, request: Request, authorizer: Authorizer) -> Answer:
        origin = self.origin()
        sent = authorizer.header(origin, request.grants)
        answer = self._followed(request, sent)
        if answer.status == 401 and Origin.of(answer.url) == origin:
            challenges = parse_challenges(answer.headers.getlist("WWW-Authenticate"))
            better = authorizer.challenged(origin, challenges, request.grants, sent)
            if better is not None:
                answer.discard()
                answer = self._followed(request, better)
        return answer

    def _followed(self, request: Request, authorization: str | None) -> Answer:
        origin = self.origin()
        url = self.absolute(request.url)
        for _ in range(MAX_REDIRECTS + 1):
            headers = dict(request.headers)
            target = Origin.of(url)
            if target == origin and authorization is not None:
                headers["Authorization"] = authorization
            try:
                answer = self._transport(self._trust_for(target)).send(
                    request.method, url, headers, request.body, most=self._most_for(target)
                )
            except DestinationForbidden as error:
                raise DestinationForbidden(
                    f"registry {self.registry} sends us to {target}, refused: {error.message}"
                ) from error
            if self._heard is not None and target == origin:
                self._heard(answer)
            place = answer.header("Location")
            if answer.status not in _REDIRECTS or place is None:
                return answer
            answer.discard()
            if request.method not in {"GET", "HEAD"}:
                raise DestinationForbidden(
                    f"registry {self.registry} redirects {request.method} {urlsplit(url).path}; not followed"
                )
            following = followed(url, place)
            self._judge_redirect(target, following)
            url = following
        raise RegistryMisbehaved(f"registry {self.registry} redirected more than {MAX_REDIRECTS} times")

    def _judge_redirect(self, source: Origin, url: str) -> None:
        """Raises DestinationForbidden for a step down to plain HTTP."""
        target = Origin.of(url)
        if target == source:
            return
        if source.scheme == "https" and target.scheme != "https":
            raise DestinationForbidden(f"registry {self.registry} redirects from https to {target}; refused")

    def _most_for(self, target: Origin) -> Reach:
        """How far inside a host may be: the registry chooses where it sends us, but not into this machine,
        unless it is here itself. Hosts the user named are theirs to choose.
        """
        origin = self._origin
        if origin is None or target.name == origin.name:
            return Reach.STRANGE
        if any(target.is_host(host) for host in self.endpoint.token_realms):
            return Reach.STRANGE
        is_here = self._transport(self.endpoint.trust).reached(origin) is Reach.MACHINE
        return Reach.MACHINE if is_here else Reach.PRIVATE

    def _trust_for(self, target: Origin) -> Trust:
        """The registry's own trust for its own host name; for others what settings say of that host."""
        if self._origin is not None and target.name == self._origin.name:
            return self.endpoint.trust
        return endpoint_for(target.host, self.settings).trust

    def _transport(self, trust: Trust) -> Transport:
        # A plain dict is enough: two threads may build one each, and one is kept.
        found = self._transports.get(trust)
        if found is None:
            found = self._transports.setdefault(trust, Transport(self.settings, trust))
        return found

    def _send_to_token_server(
        self, method: str, url: str, headers: dict[str, str], body: bytes | None
    ) -> Answer:
        attempt = 1
        while True:
            try:
                target = Origin.of(url)
                answer = self._transport(self._trust_for(target)).send(
                    method, url, headers, body, most=self._most_for(target)
                )
            except ConnectionBroken:
                if not self._pause(attempt, None, True):
                    raise
            else:
                if answer.status not in RETRIED_STATUSES:
                    return answer
                if not self._pause(attempt, parse_retry_after(answer.header("Retry-After")), True, answer):
                    return answer
            attempt += 1

    def _pause(
        self, attempt: int, retry_after_s: float | None, allowed: bool, answer: Answer | None = None
    ) -> bool:
        delay = self.settings.retry.delay_s(attempt, retry_after_s=retry_after_s, draw=self._draw)
        if delay is None or not allowed:
            return False
        if answer is not None:
            answer.discard()
        log.info("retrying registry=%s attempt=%d delay_s=%.1f", self.registry, attempt, delay)
        self._sleep(delay)
        self.cancel.check()
        return True

    # First contact

    def _make_contact(self) -> tuple[Origin, tuple[Challenge, ...]]:
        """Try the schemes in order. A registry that cannot be connected to at all is not waited for."""
        first: ConnectionBroken | None = None
        for scheme in self.endpoint.schemes:
            origin = Origin.of(f"{scheme}://{check_host(self.endpoint.host)}")
            try:
                return origin, self._ping(origin)
            except ConnectionBroken as error:
                log.debug("no-contact url=%s reason=%s", origin, error.reason)
                first = error if first is None or not error.sent else first
        assert first is not None
        raise self.unreachable(first) from first

    def _ping(self, origin: Origin) -> tuple[Challenge, ...]:
        attempt = 1
        while True:
            try:
                answer = self._transport(self.endpoint.trust).send(
                    "GET", f"{origin}/v2/", {}, timeout_s=PING_TIMEOUT_S
                )
            except ConnectionBroken as error:
                if error.tls or not error.sent or len(self.endpoint.schemes) > 1 or not self.pause(attempt):
                    raise
            else:
                retry_after_s = parse_retry_after(answer.header("Retry-After"))
                hiccup = answer.status in RETRIED_STATUSES
                if not (hiccup and self._pause(attempt, retry_after_s, True, answer)):
                    challenges = parse_challenges(answer.headers.getlist("WWW-Authenticate"))
                    status = answer.status
                    answer.discard()
                    return challenges if status == 401 else ()
            attempt += 1
