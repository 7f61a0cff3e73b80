"""A registry and its repositories, as places for content.

settings = ClientSettings.load(os.environ)
repository = open_repository(Reference.parse("registry.example/team/app"), client=settings)
manifest = repository.get_manifest("1.0")
"""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

import msgspec

from entrepot.client import tags
from entrepot.client.answers import Subject, printable, refusal
from entrepot.client.auth import Grants
from entrepot.client.challenge import Challenge, parse_challenges
from entrepot.client.credentials import Credential, CredentialSource
from entrepot.client.errors import AuthenticationFailed, RegistryMisbehaved
from entrepot.client.hosts import HUB, Location, RegistryHost, endpoint_for, locate
from entrepot.client.mirrors import MirroredRepository
from entrepot.client.place import Place
from entrepot.client.repository import Repository
from entrepot.client.session import Request, Session
from entrepot.client.settings import ClientSettings
from entrepot.client.transport import ConnectionBroken, Origin
from entrepot.content.protocols import CancelToken
from entrepot.oci import distribution
from entrepot.oci.reference import Reference, parse_repository

PULL = ("pull",)
PUSH = ("pull", "push")
CATALOG = Grants(frozenset({("registry", "catalog", "*")}))
"""What a token for the catalog or a search must allow."""
EVENTS_BYTES = 64 * 1024 * 1024
SEARCH_BYTES = 4 * 1024 * 1024


class SearchResult(msgspec.Struct, frozen=True):
    """One line of `search`."""

    name: str
    description: str
    stars: int
    official: bool
    automated: bool


class RegistryEvent(msgspec.Struct, frozen=True):
    """Something that happened in a registry."""

    number: int
    """Counts up by one over the whole registry; some are not everybody's to see."""
    kind: str
    kinds: list[str]
    """All that it is: a push that makes a tag is `push` and `create-tag`."""
    repository: str
    """Or the project, or the name of what else it is about; may be empty."""
    at: datetime
    facts: dict[str, Any]


class EventsPage(msgspec.Struct, frozen=True):
    """Events in the order of their numbers."""

    events: list[RegistryEvent]
    next: int
    """Give it as `after` to go on."""
    newest: int
    """The last number there is; the page is the end when `next` is it."""


class Registry:
    """One registry, by the name references use. Connections and tokens are shared by its repositories."""

    def __init__(
        self,
        host: str,
        *,
        settings: ClientSettings,
        credentials: CredentialSource | None = None,
        endpoint: RegistryHost | None = None,
        cancel: CancelToken | None = None,
        session: Session | None = None,
    ) -> None:
        """`endpoint` replaces what settings say about `host`; `cancel` ends waits for a retry."""
        self.host = host
        self._settings = settings
        self._credentials = credentials or settings.credentials
        self._session = session or Session(endpoint or endpoint_for(host, settings), settings, cancel=cancel)

    @property
    def session(self) -> Session:
        return self._session

    def repository(
        self, name: str, *, actions: Sequence[str] = PULL, wire_name: str | None = None
    ) -> Repository:
        """`name` as the user knows it; `wire_name` where the endpoint has it under another."""
        on_wire = parse_repository(wire_name or name)
        # Contact first: the challenge decides whether there is anything to look up.
        self._session.origin()
        credential = self._credentials.lookup(self._session.registry, on_wire)
        place = Place(
            self._session,
            self._session.authorizer(credential),
            on_wire,
            tuple(actions),
            Reference(self.host, name).familiar_name,
        )
        return Repository(place)

    def ping(self) -> Origin:
        """Make contact. Raises RegistryUnreachable."""
        return self._session.origin()

    def catalog(self) -> list[str]:
        """Names of all repositories the account may see, in byte order."""
        subject = Subject(self.host, f"the catalog of {self.host}", registry=self.host, anonymous=False)
        path = f"{distribution.catalog_path()}?n={tags.PAGE_ENTRIES}"
        authorizer = self._session.authorizer(self._credentials.lookup(self._session.registry))
        return sorted(set(tags.list_pages(self._session, authorizer, path, "repositories", CATALOG, subject)))

    def search(self, term: str, *, limit: int = 25) -> list[SearchResult]:
        """Docker's `GET /v1/search`. Raises ContentNotFound where the registry has none."""
        path = f"/v1/search?{urlencode({'q': term, 'n': limit})}"
        authorizer = self._session.authorizer(self._credentials.lookup(self._session.registry))
        asked = Request("GET", path, CATALOG, headers={"X-Docker-Token": "true"})
        answer = self._session.request(asked, authorizer)
        with answer:
            if answer.status != 200:
                raise refusal(answer, Subject(self.host, f"search on {self.host}", registry=self.host))
            try:
                body = answer.read_capped(SEARCH_BYTES, "search results")
            except ConnectionBroken as error:
                raise self._session.unreachable(error) from error
        try:
            return [_search_result(entry) for entry in json.loads(body)["results"]][:limit]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise RegistryMisbehaved(f"registry {self.host} did not answer with search results") from error

    def events(
        self, *, after: int = 0, project: str = "", kinds: Sequence[str] = (), most: int = 1000
    ) -> EventsPage:
        """What happened in an entrepot registry after number `after`.

        Raises ContentNotFound where there is no feed, RegistryRefused when they are not kept any more.
        """
        asked_for = [("after", str(after)), ("n", str(most)), *(("kind", kind) for kind in kinds)]
        asked_for += [("project", project)] if project else []
        path = f"/api/v1/events?{urlencode(asked_for)}"
        credential = self._credentials.lookup(self._session.registry)
        subject = Subject(
            self.host, f"events of {self.host}", registry=self.host, anonymous=credential is None
        )
        answer = self._session.request(Request("GET", path, CATALOG), self._session.authorizer(credential))
        with answer:
            if answer.status != 200:
                raise refusal(answer, subject)
            try:
                body = answer.read_capped(EVENTS_BYTES, "events")
            except ConnectionBroken as error:
                raise self._session.unreachable(error) from error
        try:
            return msgspec.json.decode(body, type=EventsPage)
        except msgspec.DecodeError as error:
            raise RegistryMisbehaved(f"registry {self.host} did not answer with events") from error

    def check_login(self, credential: Credential) -> Credential:
        """Prove an account; return what to keep of it: an identity token for the password where one is given.

        Raises AuthenticationFailed, RegistryUnreachable.
        """
        origin = self._session.origin()
        authorizer = self._session.authorizer(credential)
        token = authorizer.check_login(origin)
        if token is not None:
            if token.refresh_token:
                return Credential(username=credential.username, identity_token=token.refresh_token)
            return credential
        answer = self._session.request(Request("GET", "/v2/"), authorizer)
        with answer:
            status = answer.status
            challenges = parse_challenges(answer.headers.getlist("WWW-Authenticate"))
            answer.discard()
        if status == 401:
            raise AuthenticationFailed(
                f"login attempt to {origin}/v2/ failed with status: 401 Unauthorized",
                hint=_login_hint(challenges),
            )
        return credential

    def close(self) -> None:
        self._session.close()


def open_repository(
    reference: Reference, *, client: ClientSettings, push: bool = False, cancel: CancelToken | None = None
) -> Repository | MirroredRepository:
    """The repository a reference names: with mirrors first for a pull, the registry alone for a push.

    Raises RegistryUnreachable, RegistryBlocked.
    """
    by_digest = reference.digest is not None
    places = locate(reference.registry, reference.repository, client, push=push, by_digest=by_digest)

    def open_at(location: Location) -> Repository:
        registry = Registry(reference.registry, settings=client, endpoint=location.endpoint, cancel=cancel)
        return registry.repository(
            reference.repository, actions=PUSH if push else PULL, wire_name=location.repository
        )

    if len(places) == 1:
        return open_at(places[0])
    return MirroredRepository(tuple(functools.partial(open_at, place) for place in places))


def search_registry(host: str, *, client: ClientSettings) -> Registry:
    """Where `search` asks: Docker Hub's search is on another host than its registry."""
    if host == HUB and not client.default_registry:
        return Registry("index.docker.io", settings=client)
    return Registry(host, settings=client)


def _login_hint(challenges: tuple[Challenge, ...]) -> str | None:
    if any(challenge.scheme in {"basic", "bearer"} for challenge in challenges):
        return None
    return "the registry offers no way to log in that is known here"


def _search_result(entry: dict[str, object]) -> SearchResult:
    stars = entry.get("star_count")
    return SearchResult(
        name=printable(str(entry["name"])),
        description=printable(str(entry.get("description") or "")),
        stars=stars if isinstance(stars, int) else 0,
        official=entry.get("is_official") is True,
        automated=entry.get("is_automated") is True,
    )
