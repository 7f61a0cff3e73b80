"""Tags of one repository, page by page (distribution-spec: Listing Tags)."""

from __future__ import annotations

import json
from collections.abc import Iterator

from entrepot.client.answers import Subject, refusal
from entrepot.client.auth import Authorizer, Grants
from entrepot.client.errors import RegistryMisbehaved
from entrepot.client.place import Place
from entrepot.client.session import Request, Session
from entrepot.client.transport import ConnectionBroken
from entrepot.oci import distribution

PAGE_BYTES = 4 * 1024 * 1024
PAGE_ENTRIES = 1000
MAX_ENTRIES = 5_000_000


def list_tags(place: Place) -> Iterator[str]:
    """All tags in byte order, each once. Raises RegistryMisbehaved when pages go in circles."""
    path = f"{distribution.tags_path(place.repository)}?n={PAGE_ENTRIES}"
    subject = place.subject(f"repository {place.name}")
    found = list_pages(place.session, place.authorizer, path, "tags", place.grants(), subject)
    return iter(sorted(set(found)))


def list_pages(
    session: Session, authorizer: Authorizer, path: str, key: str, grants: Grants, subject: Subject
) -> list[str]:
    """The texts under `key` of every page. A page's link must stay on the registry and lead somewhere new.

    Raises RegistryMisbehaved.
    """
    found: list[str] = []
    seen: set[str] = set()
    url: str | None = path
    while url is not None:
        if url in seen:
            raise RegistryMisbehaved(f"registry {session.registry} lists {subject.thing} in circles")
        seen.add(url)
        entries, link = _read_page(session, authorizer, url, key, grants, subject)
        found.extend(entries)
        if link is not None and not entries:
            raise RegistryMisbehaved(
                f"registry {session.registry} sends empty pages of {subject.thing} without end"
            )
        if len(found) > MAX_ENTRIES:
            raise RegistryMisbehaved(f"registry {session.registry} lists {subject.thing} without end")
        url = link
    return found


def _read_page(
    session: Session, authorizer: Authorizer, url: str, key: str, grants: Grants, subject: Subject
) -> tuple[list[str], str | None]:
    attempt = 1
    while True:
        answer = session.request(Request("GET", url, grants), authorizer)
        with answer:
            if answer.status != 200:
                raise refusal(answer, subject)
            link = distribution.parse_link(answer.header("Link"))
            try:
                body = answer.read_capped(PAGE_BYTES, f"a page of {subject.thing}")
                break
            except ConnectionBroken as error:
                if not session.pause(attempt):
                    raise session.unreachable(error) from error
                attempt += 1
    try:
        values = json.loads(body).get(key)
    except (ValueError, AttributeError, RecursionError) as error:
        raise RegistryMisbehaved(
            f"registry {session.registry} did not answer with a list for {subject.thing}"
        ) from error
    entries = [value for value in values if isinstance(value, str)] if isinstance(values, list) else []
    return entries, session.on_registry(link, "the next page") if link else None
