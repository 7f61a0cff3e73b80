"""`events`: what happened in a registry, from its feed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import datetime

from entrepot.actions.places import the_settings
from entrepot.client.registry import Registry, RegistryEvent
from entrepot.client.settings import ClientSettings

ASK_EVERY_S = 1.0


def read_feed(
    host: str,
    *,
    since: int | datetime = 0,
    follow: bool = False,
    project: str = "",
    kinds: Sequence[str] = (),
    insecure: bool = False,
    settings: ClientSettings | None = None,
) -> Iterator[RegistryEvent]:
    """Events after a number, or from a time on, in the order of their numbers; with `follow` without an end.

    Raises ContentNotFound where the registry has no feed, RegistryRefused when events after that number
    are not kept any more, AccessDenied.
    """
    after = since if isinstance(since, int) else 0
    with closing(Registry(host, settings=the_settings(settings, insecure=insecure))) as registry:
        while True:
            page = registry.events(after=after, project=project, kinds=kinds)
            for event in page.events:
                if isinstance(since, int) or event.at >= since:
                    yield event
            done = page.next >= page.newest
            after = page.next
            if done and not follow:
                return
            if done:
                time.sleep(ASK_EVERY_S)
