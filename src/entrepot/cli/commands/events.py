"""`entrepot events`."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from entrepot.cli.options import insecure_option, long_format_option
from entrepot.cli.output import write

if TYPE_CHECKING:
    from entrepot.client.registry import RegistryEvent


@click.command("events", short_help="Show what happens in a registry")
@click.argument("registry", metavar="[REGISTRY]", default="localhost:5000")
@click.option("--follow", is_flag=True, help="Go on with what happens from now on")
@click.option("--since", metavar="NUMBER|TIME", default="0", help="After this number, or from this time on")
@click.option("--project", metavar="NAME", default="", help="Of this project")
@click.option("--kind", "kinds", multiple=True, metavar="KIND", help="Of this kind, as push (several times)")
@long_format_option("'json', or a Go template such as '{{.Kind}} {{.Repository}}'")
@insecure_option()
def events(
    registry: str, follow: bool, since: str, project: str, kinds: tuple[str, ...], format_: str | None,
    insecure: bool,
) -> None:  # fmt: skip
    """Show what happened in an entrepot registry, in order; a line each.

    Numbers count up by one, so whoever goes on after the last number they saw misses nothing.
    """
    from entrepot.actions.feed import read_feed
    from entrepot.cli.templates import compile_template

    fill = None if format_ in (None, "json") else compile_template(str(format_))
    feed = read_feed(
        registry, since=_since(since), follow=follow, project=project, kinds=kinds, insecure=insecure
    )
    for event in feed:
        row = _row(event)
        if format_ == "json":
            write(json.dumps(row, separators=(",", ":"), ensure_ascii=False))
        else:
            write(fill(row) if fill else _line(event))
        sys.stdout.flush()


def _since(text: str) -> int | datetime:
    from entrepot.images.times import parse_time

    if text.isdigit():
        return int(text)
    moment = parse_time(text)
    if moment is None:
        raise click.BadParameter("a number, or a time such as 2026-10-01T12:00:00Z", param_hint="--since")
    return moment


def _row(event: RegistryEvent) -> dict[str, Any]:
    at = event.at.isoformat().replace("+00:00", "Z")
    return {
        "Number": event.number, "Kind": event.kind, "Kinds": event.kinds, "Repository": event.repository,
        "At": at, "Facts": event.facts,
    }  # fmt: skip


def _line(event: RegistryEvent) -> str:
    tags = event.facts.get("tags") or []
    what = f"{event.repository}:{tags[0]}" if len(tags) == 1 else event.repository
    by = event.facts.get("by")
    words = [f"{event.number:>6}", f"{event.at:%Y-%m-%dT%H:%M:%SZ}", event.kind, what]
    return "  ".join([*filter(None, words), *([f"by {by}"] if by else [])])
