"""What a shell may offer after TAB: names of images. Never fails, never waits for a registry."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


def complete_image(ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    from entrepot.cli.invocation import Invocation
    from entrepot.images.store import ImageStore

    root = ctx.find_root()
    store = ImageStore(Invocation(store=root.params.get("store")).store_path)
    try:
        names = [tag.familiar() for image in store.list() for tag in image.tags]
    except Exception:  # noqa: BLE001 - a damaged store is no reason to disturb somebody who types
        return []
    return [CompletionItem(name) for name in sorted(names) if name.startswith(incomplete)]
