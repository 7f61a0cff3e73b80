"""`entrepot size`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from entrepot.cli.complete import complete_image
from entrepot.cli.options import insecure_option, open_store, platform_option
from entrepot.cli.output import human_size, write
from entrepot.cli.terminal import cell

if TYPE_CHECKING:
    from entrepot.actions.image_size import ImageSize
    from entrepot.inventory.files.sizes import FolderSize

_BAR = 24
_LEAST_SHARE = 0.01
"""Folders with less of the whole are summed up in a line of their own."""


@click.command("size", short_help="Show what takes the room in an image")
@click.argument("image", metavar="IMAGE", shell_complete=complete_image)
@click.option("-d", "--depth", type=click.IntRange(min=1), default=2, metavar="N", show_default=True,
              help="Go no deeper than N folders")  # fmt: skip
@click.option("--wasted", "count", type=click.IntRange(min=0), default=10, metavar="N", show_default=True,
              help="Show the N largest files that layers hold for nothing")  # fmt: skip
@click.option("--max-wasted", metavar="SIZE", help="Leave with 1 when more is wasted: 10MB, 5%")
@click.option(
    "--format", "format_", type=click.Choice(["text", "json"]), default="text", help="Form of the answer"
)
@platform_option("Of an image for several platforms; this machine's otherwise")
@insecure_option()
def size(
    image: str,
    depth: int,
    count: int,
    max_wasted: str | None,
    format_: str,
    platform: str | None,
    insecure: bool,
) -> int:
    """Show which layers and folders take the room in an image, and what of it is wasted: files that a later
    layer writes again or removes."""
    from entrepot.actions.image_size import image_size

    limit = _limit(max_wasted) if max_wasted else None
    found = image_size(image, platform=platform, insecure=insecure, store=open_store())
    if format_ == "json":
        from entrepot.cli.output import indented_json

        write(indented_json(as_document(found, depth)))
    else:
        _print(found, depth, count)
    if limit is not None and found.waste.wasted_bytes > limit(found.layer_bytes):
        click.echo(
            f"Error: {human_size(found.waste.wasted_bytes)} are wasted; at most {max_wasted} may be", err=True
        )
        return 1
    return 0


def _limit(text: str) -> Any:
    """The largest wasted size that is allowed, by the size of all layers."""
    number = text.strip().rstrip("BbkKMGTi% ")
    unit = text.strip()[len(number) :].strip().lower().removesuffix("b")
    factors = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12,
               "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}  # fmt: skip
    try:
        value = float(number)
        if unit == "%":
            return lambda whole: whole * value / 100
        allowed = value * factors[unit]
    except (ValueError, KeyError):
        raise click.UsageError(
            f"--max-wasted {text}: a size such as 10MB, or a share such as 5%, is needed"
        ) from None
    return lambda _: allowed


def _print(found: ImageSize, depth: int, count: int) -> None:
    whole = found.layer_bytes
    size, files = human_size(found.folders.size), found.folders.files
    write(f"{size} in {files} files, from {len(found.layers)} layers of {human_size(whole)}")
    write()
    write("LAYERS")
    for number, layer in enumerate(found.layers, 1):
        said = cell(" ".join(layer.created_by.split()))[:60]
        write(f"{number:>4}  {_share(layer.size, whole)}  {said}".rstrip())
    write()
    write("FOLDERS")
    _print_folder(found.folders, found.folders.size, depth, 0)
    write()
    waste = found.waste
    share = f" ({waste.wasted_bytes / whole:.1%} of the layers)" if whole else ""
    write(f"WASTED {human_size(waste.wasted_bytes)}{share}; efficiency {waste.efficiency:.1%}")
    for each in waste.files[:count]:
        from entrepot.inventory.files.shown import path_text

        what = f"{each.copies}×" + (" removed" if each.removed else "")
        write(f"  {human_size(each.size):>8}  {what:<10}  {cell(path_text(each.path))}")
    if len(waste.files) > count:
        write(f"  and {len(waste.files) - count} more")


def _print_folder(folder: FolderSize, whole: int, depth: int, level: int) -> None:
    import os

    if level >= depth:
        return
    rest = [0, 0]
    for child in folder.children:
        if child.size < whole * _LEAST_SHARE:
            rest[0] += child.size
            rest[1] += 1
            continue
        name = cell(os.fsdecode(child.path[-1])) + "/" * child.is_directory
        write(f"      {_share(child.size, whole)}  {'  ' * level}{name}")
        _print_folder(child, whole, depth, level + 1)
    if rest[0]:
        write(f"      {_share(rest[0], whole)}  {'  ' * level}({rest[1]} smaller)")


def _share(part: int, whole: int) -> str:
    eighths = round(part / whole * _BAR * 8) if whole else 0
    bar = "█" * (eighths // 8) + (" ▏▎▍▌▋▊▉"[eighths % 8] if eighths % 8 else "")
    return f"{human_size(part):>8}  {part / whole if whole else 0:>6.1%}  {bar:<{_BAR}}"


def as_document(found: ImageSize, depth: int) -> dict[str, Any]:
    """The answer as JSON."""
    from entrepot.inventory.files.shown import path_text

    def folder(each: FolderSize, level: int) -> dict[str, Any]:
        document: dict[str, Any] = {
            "Path": path_text(each.path, is_directory=each.is_directory),
            "Size": each.size,
            "Files": each.files,
        }
        if level < depth and each.children:
            document["Children"] = [folder(child, level + 1) for child in each.children]
        return document

    return {
        "Size": found.folders.size,
        "Files": found.folders.files,
        "Layers": [
            {"DiffID": each.diff_id, "Size": each.size, "CreatedBy": each.created_by} for each in found.layers
        ],
        "Folders": folder(found.folders, 0),
        "WastedBytes": found.waste.wasted_bytes,
        "Efficiency": round(found.waste.efficiency, 6),
        "Wasted": [
            {"Path": path_text(each.path), "Size": each.size, "Copies": each.copies, "Removed": each.removed}
            for each in found.waste.files
        ],
    }
