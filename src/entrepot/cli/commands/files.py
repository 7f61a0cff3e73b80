"""`entrepot files`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from entrepot.cli.complete import complete_image
from entrepot.cli.options import insecure_option, long_format_option, open_store, platform_option
from entrepot.cli.output import Column, Listing, print_listing, write
from entrepot.cli.terminal import cell

if TYPE_CHECKING:
    from entrepot.actions.image_files import ImageFiles
    from entrepot.inventory.files.entries import LayerEntry
    from entrepot.inventory.files.tree import TreeNode
    from entrepot.layers.paths import Path

LISTING = Listing(
    columns=(
        Column("Path", "PATH"), Column("Kind", "KIND"), Column("Mode", "MODE"), Column("UID", "UID"),
        Column("GID", "GID"), Column("Size", "SIZE"), Column("Modified", "MODIFIED"),
        Column("Link", "LINK"), Column("Layer", "LAYER"),
    ),
    shown=("Mode", "UID", "GID", "Size", "Modified", "Path"),
    json_names=("GID", "Kind", "Layer", "Link", "Mode", "Modified", "Path", "Size", "UID"),
    quiet="Path",
)  # fmt: skip


@click.command("files", short_help="List the files of an image")
@click.argument("image", metavar="IMAGE", shell_complete=complete_image)
@click.argument("path", metavar="[PATH]", default="/")
@click.option("--tree", is_flag=True, help="Draw folders as a tree")
@click.option("-d", "--depth", type=click.IntRange(min=1), metavar="N", help="Go no deeper than N folders")
@click.option("--layer", metavar="N|DIFF-ID", help="What one layer says (1 is the lowest), removals included")
@long_format_option()
@platform_option("Of an image for several platforms; this machine's otherwise")
@insecure_option()
def files(
    image: str,
    path: str,
    tree: bool,
    depth: int | None,
    layer: str | None,
    format_: str | None,
    platform: str | None,
    insecure: bool,
) -> None:
    """List the files of an image as `ls -l` does, all of them or those below PATH, without pulling it.

    `--format '{{.Path}}'` prints absolute paths, folders with `/` at the end.
    """
    from entrepot.actions.image_files import open_image_files

    with open_image_files(image, platform=platform, insecure=insecure, store=open_store()) as found:
        if layer is not None:
            _show(_layer_rows(found, layer, path, depth), format_)
            return
        real, node = _at(found, path)
        if tree:
            _draw(real, node, depth)
            return
        _show(_rows(real, node, depth), format_)


def _at(found: ImageFiles, path: str) -> tuple[Path, TreeNode]:
    from entrepot.actions.image_files import NoSuchFile
    from entrepot.inventory.files.shown import parse_shown

    tree = found.tree()
    # `ls -l` shows a link itself; with a slash behind it, what it leads to.
    real = tree.resolve(parse_shown(path), follow_last=path.endswith("/"))[1]
    node = tree.find(real)[1]
    if node is None:
        raise NoSuchFile(
            f"{found.name} has no {path}", hint=f"list what is there: entrepot files {found.name}"
        )
    return real, node


def _rows(real: Path, node: TreeNode, depth: int | None) -> Iterator[dict[str, Any]]:
    from entrepot.inventory.files.tree import walk

    if not node.is_directory:
        yield _row(real, node.entry, node.layer)
    for path, each in walk(node, real):
        if depth is None or len(path) - len(real) <= depth:
            yield _row(path, each.entry, each.layer)


def _layer_rows(found: ImageFiles, layer: str, path: str, depth: int | None) -> Iterator[dict[str, Any]]:
    from entrepot.inventory.files.shown import parse_shown

    below = parse_shown(path)
    number = _layer_number(found, layer)
    for entry in found.entries(number):
        inside = entry.path[: len(below)] == below
        if inside and (depth is None or len(entry.path) - len(below) <= depth):
            yield _row(entry.path, entry, number)


def _layer_number(found: ImageFiles, text: str) -> int:
    count = len(found.layers)
    if text.isdecimal() and len(text) < 7:
        if 1 <= int(text) <= count:
            return int(text) - 1
        raise click.UsageError(f"{found.name} has {count} layers; there is no layer {text}")
    wanted = text if ":" in text else f"sha256:{text}"
    pairs = zip(found.layers, found.config.diff_ids, strict=False)
    names = [(str(each.digest), str(diff_id)) for each, diff_id in pairs]
    matching = [at for at, pair in enumerate(names) if any(name.startswith(wanted) for name in pair)]
    if len(matching) != 1:
        raise click.UsageError(f"{text} is {'more than one' if matching else 'no'} layer of {found.name}")
    return matching[0]


def _row(path: Path, entry: LayerEntry, layer: int) -> dict[str, Any]:
    import os

    from entrepot.inventory.files.entries import What
    from entrepot.inventory.files.shown import kind_name, mode_text, path_text

    is_directory = entry.what in (What.DIRECTORY, What.EMPTIED)
    is_device = entry.what in (What.CHAR_DEVICE, What.BLOCK_DEVICE)
    return {
        "Path": path_text(path, is_directory=is_directory),
        "Kind": kind_name(entry.what),
        "Mode": mode_text(entry),
        "UID": str(entry.uid),
        "GID": str(entry.gid),
        "Size": f"{entry.major},{entry.minor}" if is_device else str(entry.size),
        "Modified": _time(entry.mtime_ns),
        "Link": os.fsdecode(entry.link),
        "Layer": str(layer + 1),
    }


def _time(mtime_ns: int) -> str:
    seconds = mtime_ns // 1_000_000_000
    if not -62_135_596_800 <= seconds < 253_402_300_800:  # years 1 to 9999
        return str(seconds)
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")


def _show(rows: Iterable[dict[str, Any]], format_: str | None) -> None:
    if format_:
        print_listing(LISTING, list(rows), format_=format_)
        return
    kept = list(rows)
    owners = [f"{row['UID']}:{row['GID']}" for row in kept]
    wide = max(map(len, owners), default=0)
    sizes = max((len(row["Size"]) for row in kept), default=0)
    for row, owner in zip(kept, owners, strict=True):
        arrow = f" -> {cell(row['Link'])}" if row["Link"] else ""
        size, path = row["Size"], cell(row["Path"])
        write(f"{row['Mode']} {owner:<{wide}} {size:>{sizes}} {row['Modified']} {path}{arrow}")


def _draw(real: Path, node: TreeNode, depth: int | None) -> None:
    """Folders drawn with lines, sizes of files behind their names."""
    import os

    from entrepot.cli.output import human_size
    from entrepot.inventory.files.entries import What
    from entrepot.inventory.files.shown import path_text

    write(cell(path_text(real, is_directory=node.is_directory)))
    waiting: list[tuple[str, bytes, TreeNode, bool, int]] = []

    def push(parent: TreeNode, indent: str, level: int) -> None:
        if depth is not None and level > depth:
            return
        below = sorted((parent.children or {}).items())
        rows = [(indent, name, child, at == len(below) - 1, level) for at, (name, child) in enumerate(below)]
        waiting.extend(reversed(rows))

    push(node, "", 1)
    while waiting:
        indent, name, child, last, level = waiting.pop()
        shown = cell(os.fsdecode(name)) + "/" * child.is_directory
        if child.entry.what is What.SYMLINK:
            shown += f" -> {cell(os.fsdecode(child.entry.link))}"
        elif child.entry.what is What.FILE:
            shown += f"  {human_size(child.entry.size)}"
        write(f"{indent}{'└── ' if last else '├── '}{shown}")
        push(child, indent + ("    " if last else "│   "), level + 1)
