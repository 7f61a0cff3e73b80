"""`copy`: an image from anywhere to anywhere, without passing through the store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from entrepot.actions.endpoints import (
    Endpoint,
    Ends,
    OpenGoal,
    OpenOrigin,
    is_same_registry,
    list_unnamed,
    open_goal,
    open_origin,
    parse_endpoint,
)
from entrepot.actions.events import Listener, nobody
from entrepot.actions.places import the_settings, the_store
from entrepot.actions.referrers import copy_referrers
from entrepot.client.repository import Repository
from entrepot.client.settings import ClientSettings
from entrepot.content.protocols import CancelToken
from entrepot.images.store import ImageStore
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.platform import Platform
from entrepot.transfer.copy import carry_out
from entrepot.transfer.limits import TransferLimits
from entrepot.transfer.plan import PlatformChoice
from entrepot.transfer.reading import read_plan

PARALLEL_BLOBS = 4


@dataclass(frozen=True, slots=True)
class Copied:
    """What a copy did, or would do."""

    source: str
    destination: str
    digest: Digest
    """Of what is at the destination now."""
    changed: bool
    """The destination's name did not hold it before."""
    moved_blobs: int = 0
    moved_bytes: int = 0
    present_blobs: int = 0
    referrers: int = 0


def copy(
    source: str,
    destination: str,
    *,
    platforms: Sequence[str] = (),
    referrers: bool = False,
    dry_run: bool = False,
    insecure: bool = False,
    store: ImageStore | Path | str | None = None,
    settings: ClientSettings | None = None,
    parallel: int = PARALLEL_BLOBS,
    on_event: Listener = nobody,
    cancel: CancelToken | None = None,
) -> Copied:
    """Copy one image, every platform of it unless `platforms` names some; digests stay what they are.

    `referrers` takes signatures and the like along. `dry_run` reads manifests and changes nothing.
    Raises InvalidEndpoint, NotFound, NoMatchingPlatform, VerificationFailed, Unavailable.
    """
    with Ends(the_store(store), the_settings(settings, insecure=insecure), cancel) as ends:
        return copy_between(
            parse_endpoint(source),
            parse_endpoint(destination),
            ends,
            choice=platform_choice(platforms),
            referrers=referrers,
            dry_run=dry_run,
            parallel=parallel,
            on_event=on_event,
        )


def platform_choice(platforms: Sequence[str]) -> PlatformChoice:
    """All when none is named."""
    return PlatformChoice.some([Platform.parse(text) for text in platforms])


def copy_between(
    source: Endpoint,
    destination: Endpoint,
    ends: Ends,
    *,
    choice: PlatformChoice,
    referrers: bool,
    dry_run: bool,
    parallel: int,
    on_event: Listener,
) -> Copied:
    """The same, of endpoints."""
    if choice.is_all and destination.kind == "docker-daemon":
        choice = PlatformChoice.host()
    with open_origin(source, ends) as origin:
        plan = read_plan(origin.source, origin.source.get_manifest(origin.reference), platforms=choice)
        top = plan.top
        if dry_run:
            return _foreseen(source, destination, ends, origin, top.descriptor(), plan.total_bytes)
        with open_goal(destination, ends, name=origin.name) as goal:
            result = carry_out(
                plan,
                origin.source,
                goal.sink,
                to=goal.tag,
                limits=TransferLimits(parallel=parallel),
                events=on_event,
                cancel=ends.cancel,
                mount_from=_mounts(origin, goal),
            )
            if goal.tag is None:
                list_unnamed(goal.sink, top.descriptor())
            count = 0
            if referrers:
                count = copy_referrers(
                    origin.source, origin.referrers, goal.sink, plan, events=on_event, cancel=ends.cancel
                )
            changed = goal.held is None or goal.held.digest != top.digest
    return Copied(
        str(source),
        str(destination),
        top.digest,
        changed,
        result.moved_blobs,
        result.moved_bytes,
        result.present_blobs,
        count,
    )


def _foreseen(
    source: Endpoint, destination: Endpoint, ends: Ends, origin: OpenOrigin, top: Descriptor, size: int
) -> Copied:
    held = held_at(destination, ends, origin)
    changed = held is None or held.digest != top.digest
    return Copied(str(source), str(destination), top.digest, changed, moved_bytes=size if changed else 0)


def held_at(destination: Endpoint, ends: Ends, origin: OpenOrigin) -> Descriptor | None:
    """What the destination's name holds, without making anything there."""
    if destination.kind in ("docker", "store"):
        with open_goal(destination, ends, name=origin.name) as goal:
            return goal.held
    if destination.kind == "oci" and destination.path is not None and destination.path.is_dir():
        with open_goal(destination, ends, name=origin.name) as goal:
            return goal.held
    return None


def _mounts(origin: OpenOrigin, goal: OpenGoal) -> Callable[[Descriptor], list[str]] | None:
    source, sink = origin.source, goal.sink
    if not is_same_registry(source, sink) or not isinstance(source, Repository):
        return None
    names = (
        [] if isinstance(sink, Repository) and sink.repository == source.repository else [source.repository]
    )
    return lambda _: names
