"""What `entrepot ps` shows."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from entrepot.cli import exitcodes
from entrepot.cli.invocation import container_store, open_store
from entrepot.cli.output import (
    Column,
    Listing,
    ellipsis,
    human_duration,
    human_size,
    print_listing,
    since,
    utc_now,
)

if TYPE_CHECKING:
    from entrepot.actions.ps import Listed

LISTING = Listing(
    columns=(
        Column("ID", "CONTAINER ID"), Column("Image", "IMAGE"), Column("Command", "COMMAND"),
        Column("RunningFor", "CREATED"), Column("CreatedAt", "CREATED AT"), Column("Status", "STATUS"),
        Column("Ports", "PORTS"), Column("Names", "NAMES"), Column("Size", "SIZE"), Column("State", "STATE"),
        Column("Labels", "LABELS"), Column("Mounts", "MOUNTS"), Column("LocalVolumes", "LOCAL VOLUMES"),
        Column("Networks", "NETWORKS"), Column("Platform", "PLATFORM"),
    ),
    shown=("ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names"),
    json_names=(
        "Command", "CreatedAt", "ID", "Image", "Labels", "LocalVolumes", "Mounts", "Names", "Networks",
        "Platform", "Ports", "RunningFor", "Size", "State", "Status",
    ),
    quiet="ID",
    kind="formatter.containerContext",
)  # fmt: skip


def show_containers(
    *, all_containers: bool, filters: tuple[str, ...], format_: str | None, last: int, latest: bool,
    no_trunc: bool, quiet: bool, size: bool,
) -> int:  # fmt: skip
    """Print what `entrepot ps` was asked for; the exit code. Raises EntrepotError."""
    from entrepot.actions.ps import list_containers

    count = 1 if latest else last if last > 0 else None
    store = container_store()
    found = list_containers(all_containers=all_containers, filters=filters, last=count, store=store)
    now = utc_now()
    want_size = size or (format_ is not None and ".Size" in format_)
    rows = [_row(item, now, full=no_trunc, size=_size(item) if want_size else "0B") for item in found]
    shown = (*LISTING.shown, "Size") if size else None
    print_listing(LISTING, rows, format_=format_, quiet=quiet, shown=shown)
    return exitcodes.OK


def _row(item: Listed, now: datetime, *, full: bool, size: str) -> dict[str, Any]:
    from entrepot.containers.ports import listed

    container = item.container
    # Words with spaces are quoted, though nothing else is: docker's way.
    command = " ".join(
        f"'{word}'" if " " in word and number else word for number, word in enumerate(container.argv)
    )
    running = item.state.status == "running"
    ports = listed(item.state.ports, container.process.exposed_ports) if running else ""
    mounts = [mount.name or mount.source for mount in container.host.mounts if mount.name or mount.source]
    return {
        "ID": container.id if full else container.id[:12],
        "Image": item.image,
        "Command": f'"{command if full else ellipsis(command, 20)}"',
        "RunningFor": since(container.created, now),
        "CreatedAt": container.created.strftime("%Y-%m-%d %H:%M:%S +0000 UTC"),
        "Status": status_text(item, now),
        "Ports": ports,
        "Names": container.name,
        "Size": size,
        "State": item.state.status,
        "Labels": ",".join(f"{key}={value}" for key, value in sorted(container.process.labels.items())),
        "Mounts": ",".join(mount if full else ellipsis(mount, 15) for mount in mounts),
        "LocalVolumes": str(sum(1 for mount in container.host.mounts if mount.kind == "volume")),
        "Networks": container.host.network,
        "Platform": None,
    }


def status_text(item: Listed, now: datetime) -> str:
    """docker's words for a state."""
    state = item.state
    if state.status == "running" and state.started is not None:
        return f"Up {human_duration((now - state.started).total_seconds())}"
    if state.status == "restarting" and state.finished is not None:
        return f"Restarting ({state.exit_code}) {since(state.finished, now)}"
    if state.status == "exited" and state.finished is not None:
        return f"Exited ({state.exit_code}) {since(state.finished, now)}"
    return "Created"


def _size(item: Listed) -> str:
    from entrepot.actions.container_inspect import container_sizes

    own, total = container_sizes(item.container, store=open_store())
    return f"{human_size(own)} (virtual {human_size(total)})"
