"""What Harbor, Quay and Docker Hub know beside content: which repositories there are, who may see them, what
they are for. Asked over their documented APIs; content itself comes as from any registry.

A survey is made by a pure walk over `ask(path)`, so that the network is in one place.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final
from urllib.parse import quote, urlsplit

import urllib3

from entrepot.client.credentials import Credential
from entrepot.errors import InvalidInput, Unavailable
from entrepot.server.movement.importers.origin import Left

__all__ = ["Ask", "Portal", "Survey", "SurveyedProject", "portal_asker", "survey"]

PAGE: Final = 100
MOST_PAGES: Final = 10_000
_ANSWER_BYTES: Final = 16 << 20
_TIMEOUT: Final = urllib3.Timeout(connect=15, read=60)

Ask = Callable[[str], Any]
"""The decoded answer to a GET of a path; None when there is nothing (403, 404). Raises PortalFailed."""
Portal = str
"""`harbor`, `quay` or `hub`."""


class PortalFailed(Unavailable):
    """Its API did not answer as it is documented."""

    code: ClassVar[str] = "portal-failed"


@dataclass(slots=True)
class SurveyedProject:
    """An organization, a namespace: our project."""

    name: str
    is_public: bool = True
    """Everything in it may be pulled by anybody."""


@dataclass(slots=True)
class Survey:
    """What there is."""

    projects: list[SurveyedProject] = field(default_factory=list)
    descriptions: dict[str, str] = field(default_factory=dict)
    """Of every repository, by its name; may be empty."""
    by_hand: list[Left] = field(default_factory=list)
    """What no API gives away or what means something else here: for a person to make again."""


def survey(portal: Portal, ask: Ask, namespaces: Sequence[str]) -> Survey:
    """Ask for everything; where a portal does not list namespaces, for these. Raises PortalFailed."""
    walk = {"harbor": _harbor, "quay": _quay, "hub": _hub}[portal]
    if portal != "harbor" and not namespaces:
        raise InvalidInput("name the namespaces that are to come", hint="with --namespace NAME")
    found = Survey()
    try:
        walk(ask, namespaces, found)
    except (KeyError, TypeError, AttributeError) as error:
        raise PortalFailed(f"the API answered with something else than is documented: {error!r}") from error
    return found


def _harbor(ask: Ask, namespaces: Sequence[str], found: Survey) -> None:
    for project in _pages(ask, "/api/v2.0/projects"):
        name, data = str(project["name"]), project.get("metadata") or {}
        if namespaces and name not in namespaces:
            continue
        found.projects.append(SurveyedProject(name, is_public=data.get("public") == "true"))
        path = f"/api/v2.0/projects/{quote(name, safe='')}"
        for one in _pages(ask, f"{path}/repositories"):
            found.descriptions[str(one["name"])] = str(one.get("description") or "")
        for member in _pages(ask, f"{path}/members"):
            kind = "group" if member.get("entity_type") == "g" else "user"
            why = f"{member.get('role_name', 'member')} there: give a grant with entrepot admin grant"
            found.by_hand.append(Left(f"{name}: {kind} {member['entity_name']}", why))
        level = quote(f"Level=project,ProjectID={project['project_id']}")
        for robot in _pages(ask, f"/api/v2.0/robots?q={level}"):
            found.by_hand.append(Left(f"{name}: {robot['name']}", _ROBOT))
        if any(not rule.get("disabled") for rule in _pages(ask, f"{path}/immutabletagrules")):
            found.by_hand.append(Left(f"{name}: immutable tags", "rules are written anew here"))
        if data.get("retention_id"):
            found.by_hand.append(Left(f"{name}: retention", "rules are written anew here"))


def _quay(ask: Ask, namespaces: Sequence[str], found: Survey) -> None:
    for name in namespaces:
        project, token = SurveyedProject(name), ""
        for _ in range(MOST_PAGES):
            more = f"&next_page={quote(token)}" if token else ""
            page = ask(f"/api/v1/repository?namespace={quote(name, safe='')}{more}") or {}
            for one in page.get("repositories", ()):
                if one.get("kind", "image") != "image":
                    found.by_hand.append(
                        Left(f"{name}/{one['name']}", f"it holds {one['kind']}s, not images")
                    )
                    continue
                found.descriptions[f"{name}/{one['name']}"] = str(one.get("description") or "")
                project.is_public &= one.get("is_public") is True
            token = str(page.get("next_page") or "")
            if not token:
                break
        robots = ask(f"/api/v1/organization/{quote(name, safe='')}/robots") or {}
        found.by_hand += [Left(f"{name}: {robot['name']}", _ROBOT) for robot in robots.get("robots", ())]
        organization = ask(f"/api/v1/organization/{quote(name, safe='')}") or {}
        found.by_hand += [Left(f"{name}: team {team}", _TEAM) for team in organization.get("teams", ())]
        _add(project, found)


def _hub(ask: Ask, namespaces: Sequence[str], found: Survey) -> None:
    for name in namespaces:
        project = SurveyedProject(name)
        for number in range(1, MOST_PAGES):
            path = f"/v2/namespaces/{quote(name, safe='')}/repositories?page={number}&page_size={PAGE}"
            page = ask(path) or {}
            for one in page.get("results", ()):
                found.descriptions[f"{name}/{one['name']}"] = str(one.get("description") or "")
                project.is_public &= one.get("is_private") is False
            if not page.get("next"):
                break
        _add(project, found)


_ROBOT: Final = "its secret is nowhere to be read: make it with entrepot admin robot create"
_TEAM: Final = "make it with entrepot admin team"


def _add(project: SurveyedProject, found: Survey) -> None:
    prefix = f"{project.name}/"
    if any(name.startswith(prefix) for name in found.descriptions):
        found.projects.append(project)
    else:
        found.by_hand.append(Left(project.name, "nothing in it can be seen with this account"))


def _pages(ask: Ask, path: str) -> Iterator[Mapping[str, Any]]:
    """Harbor's way of lists."""
    mark = "&" if "?" in path else "?"
    for number in range(1, MOST_PAGES):
        page = ask(f"{path}{mark}page={number}&page_size={PAGE}") or []
        yield from page
        if len(page) < PAGE:
            return


def portal_asker(portal: Portal, url: str, credential: Credential | None, token: str = "") -> Ask:
    """Asks the portal at `url`, as `credential` or with a token of its own. Blocks.

    Raises PortalFailed, also later.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.netloc or parts.path.strip("/"):
        raise InvalidInput(f"{url} is no address", hint="write https://host[:port]")
    http, base = urllib3.PoolManager(timeout=_TIMEOUT), f"{parts.scheme}://{parts.netloc}"
    headers = {"Accept": "application/json", "User-Agent": "entrepot"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    elif credential is not None and portal == "harbor":
        headers["Authorization"] = credential.basic
        headers["X-Is-Resource-Name"] = "true"
    elif credential is not None and portal == "hub":
        said = {"identifier": credential.username, "secret": credential.password}
        answer = _request(http, "POST", f"{base}/v2/auth/token", headers, json.dumps(said).encode())
        headers["Authorization"] = f"Bearer {(answer or {}).get('access_token', '')}"
    return lambda path: _request(http, "GET", base + path, headers)


def _request(
    http: urllib3.PoolManager, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None
) -> Any:
    where = url.partition("?")[0]
    sent = {**headers, "Content-Type": "application/json"} if body else dict(headers)
    try:
        answer = http.request(
            method, url, headers=sent, body=body, redirect=False, preload_content=False, retries=2
        )
        with answer:
            raw = answer.read(_ANSWER_BYTES + 1)
    except urllib3.exceptions.HTTPError as error:
        raise PortalFailed(f"{where} does not answer: {error}") from error
    if answer.status in {403, 404}:
        return None
    if answer.status == 401:
        raise PortalFailed(f"{where} asks who you are", hint="sign in with entrepot login, or give a token")
    if answer.status != 200 or len(raw) > _ANSWER_BYTES:
        raise PortalFailed(f"{where} answered {answer.status}")
    try:
        return json.loads(raw)
    except ValueError as error:
        raise PortalFailed(f"{where} answered with something that is no JSON") from error
