"""`entrepot image diff`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from entrepot.cli.complete import complete_image
from entrepot.cli.options import insecure_option, open_store, platform_option
from entrepot.cli.output import human_size, table, write
from entrepot.cli.terminal import cell

if TYPE_CHECKING:
    from entrepot.actions.image_diff import FileDifference, ImageDifference


@click.command("diff", short_help="Show what differs between two images")
@click.argument("first", metavar="A", shell_complete=complete_image)
@click.argument("second", metavar="B", shell_complete=complete_image)
@click.option(
    "--format", "format_", type=click.Choice(["text", "json"]), default="text", help="Form of the answer"
)
@click.option("-t", "--text", is_flag=True, help="Show changed lines of text files")
@platform_option("Of images for several platforms; this machine's otherwise")
@insecure_option()
def image_diff(
    first: str, second: str, format_: str, text: bool, platform: str | None, insecure: bool
) -> None:
    """Show files added (A), changed (C) and deleted (D) from image A to image B, sizes by layer, and
    settings. Images of a registry are not pulled for it."""
    from entrepot.actions.image_diff import diff_images

    found = diff_images(first, second, text=text, platform=platform, insecure=insecure, store=open_store())
    if format_ == "json":
        from entrepot.cli.output import indented_json

        write(indented_json(as_document(found)))
        return
    _print_layers(found)
    _print_settings(found)
    for file in found.files:
        notes = " ".join(filter(None, (_mode(file), _change(file.size_after - file.size_before))))
        write(f"{file.kind} {cell(file.path)} {notes}".rstrip())
        if file.text:
            write(file.text.rstrip("\n"))
    if found.is_empty:
        write("The images have the same files and settings.")


def _print_layers(found: ImageDifference) -> None:
    if all(layer.same for layer in found.layers):
        return
    rows = [
        [
            "=" if layer.same else "*",
            _short(layer.before),
            human_size(layer.size_before) if layer.before else "",
            _short(layer.after),
            human_size(layer.size_after) if layer.after else "",
        ]
        for layer in found.layers
    ]
    write(table(["LAYER", "A", "SIZE", "B", "SIZE"], rows))


def _print_settings(found: ImageDifference) -> None:
    if not found.config:
        return
    rows = [[name, _value(before), _value(after)] for name, (before, after) in found.config.items()]
    write(table(["SETTING", "A", "B"], rows))


def _short(diff_id: str | None) -> str:
    return diff_id.partition(":")[2][:12] if diff_id else ""


def _value(value: Any) -> str:
    if value is None:
        return "<none>"
    return " ".join(value) if isinstance(value, list) else str(value)


def _change(size: int) -> str:
    if not size:
        return ""
    return f"({'+' if size > 0 else '-'}{human_size(abs(size))})"


def _mode(file: FileDifference) -> str:
    """The modes, where both are there and differ."""
    if not file.mode_before or not file.mode_after or file.mode_before == file.mode_after:
        return ""
    return f"{file.mode_before} → {file.mode_after}"


def as_document(found: ImageDifference) -> dict[str, Any]:
    """The answer as JSON."""
    return {
        "A": found.before,
        "B": found.after,
        "Layers": [
            {
                "Index": layer.index,
                "A": layer.before,
                "B": layer.after,
                "SizeA": layer.size_before,
                "SizeB": layer.size_after,
            }
            for layer in found.layers
        ],
        "Settings": {name: {"A": before, "B": after} for name, (before, after) in found.config.items()},
        "Files": [
            {
                "Kind": file.kind,
                "Path": file.path,
                "SizeA": file.size_before,
                "SizeB": file.size_after,
                "ModeA": file.mode_before,
                "ModeB": file.mode_after,
                **({"Text": file.text} if file.text else {}),
            }
            for file in found.files
        ],
    }
