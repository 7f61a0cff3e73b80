"""`image diff`: what one image has and another has not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from entrepot.actions.image_files import ImageFiles, open_image_files
from entrepot.client.settings import ClientSettings
from entrepot.images.store import ImageStore
from entrepot.inventory.files.changes import FileChange, compare
from entrepot.inventory.files.entries import What, whole_content
from entrepot.inventory.files.shown import mode_text, path_text
from entrepot.inventory.files.text import unified
from entrepot.inventory.files.tree import TreeNode
from entrepot.layers.paths import Path as TreePath

MAX_TEXT_BYTES = 1 << 20
"""Of a file whose lines are compared; longer ones are only said to differ."""


@dataclass(frozen=True, slots=True)
class FileDifference:
    """One path."""

    kind: str
    """`A`dded, `C`hanged or `D`eleted, from the first image to the second."""
    path: str
    size_before: int
    size_after: int
    mode_before: str
    """As `ls -l` prints it; empty where there is nothing."""
    mode_after: str
    text: str = ""
    """Changed lines as a unified diff, when it was asked for and both sides are text."""


@dataclass(frozen=True, slots=True)
class LayerDifference:
    """One place in the two stacks of layers."""

    index: int
    before: str | None
    """Diff ID."""
    after: str | None
    size_before: int
    size_after: int

    @property
    def same(self) -> bool:
        return self.before == self.after


@dataclass(frozen=True, slots=True)
class ImageDifference:
    """Everything that tells two images apart."""

    before: str
    """Image ID."""
    after: str
    files: tuple[FileDifference, ...]
    layers: tuple[LayerDifference, ...]
    config: Mapping[str, tuple[Any, Any]]
    """Setting (`Env.PATH`, `Labels.x`, `Cmd`, `architecture`) → before and after; None where it is not
    set."""

    @property
    def is_empty(self) -> bool:
        """Whether they do the same with the same files."""
        return not self.files and not self.config


def diff_images(
    first: str,
    second: str,
    *,
    text: bool = False,
    platform: str | None = None,
    insecure: bool = False,
    store: ImageStore | Path | str | None = None,
    settings: ClientSettings | None = None,
) -> ImageDifference:
    """Compare two images, file by file, wherever they are. A file that differs in its time alone counts as
    the same.

    `text` compares the lines of changed text files too. Layers that both have are read once.
    Raises what `open_image_files` does, and InvalidLayer.
    """
    with (
        open_image_files(
            first, platform=platform, insecure=insecure, store=store, settings=settings
        ) as before,
        open_image_files(
            second, platform=platform, insecure=insecure, store=store, settings=settings
        ) as after,
    ):
        after.share_lists(before)
        old, new = before.tree(digests=True), after.tree(digests=True)
        changes = list(compare(old, new))
        texts = _text_changes(before, after, changes) if text else {}
        return ImageDifference(
            str(before.config.digest),
            str(after.config.digest),
            tuple(_file(change, texts.get(change.path, "")) for change in changes),
            _layers(before, after),
            config_differences(before.config.document, after.config.document),
        )


def _file(change: FileChange, text: str) -> FileDifference:
    before, after = change.before, change.after
    return FileDifference(
        change.kind.value,
        path_text(change.path),
        before.entry.size if before is not None else 0,
        after.entry.size if after is not None else 0,
        mode_text(before.entry) if before is not None else "",
        mode_text(after.entry) if after is not None else "",
        text,
    )


def _text_changes(
    before: ImageFiles, after: ImageFiles, changes: Sequence[FileChange]
) -> dict[TreePath, str]:
    """Of files on both sides: each image's layers are read once more, for all of them together."""
    pairs = [
        (change.path, change.before, change.after)
        for change in changes
        if change.before is not None
        and change.after is not None
        and change.before.entry.what is change.after.entry.what is What.FILE
        and change.before.entry.sha256 != change.after.entry.sha256
        and max(change.before.entry.size, change.after.entry.size) <= MAX_TEXT_BYTES
    ]
    old = _contents(before, [node for _, node, _ in pairs])
    new = _contents(after, [node for _, _, node in pairs])
    found = {}
    for path, was, now in pairs:
        lines = unified(old[was.source, was.entry.offset], new[now.source, now.entry.offset], path_text(path))
        if lines:
            found[path] = lines
    return found


def _contents(files: ImageFiles, nodes: Sequence[TreeNode]) -> dict[tuple[int, int], bytes]:
    sizes = {(node.source, node.entry.offset): node.entry.size for node in nodes}
    return {key: b"".join(whole_content(data, sizes[key])) for key, data in files.contents(set(sizes))}


def _layers(before: ImageFiles, after: ImageFiles) -> tuple[LayerDifference, ...]:
    old, new = before.layer_sizes(), after.layer_sizes()
    count = max(len(old), len(new))
    return tuple(
        LayerDifference(
            index,
            old[index][0] if index < len(old) else None,
            new[index][0] if index < len(new) else None,
            old[index][1] if index < len(old) else 0,
            new[index][1] if index < len(new) else 0,
        )
        for index in range(count)
    )


def config_differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Settings that differ. Pure; history and layers are not settings."""
    old, new = _settings(before), _settings(after)
    return {
        key: (old.get(key), new.get(key))
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    }


_TOP = ("architecture", "os", "variant", "os.version", "author")


def _settings(document: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {key: document[key] for key in _TOP if document.get(key)}
    for key, value in (document.get("config") or {}).items():
        if key == "Env":
            pairs = (item.partition("=") for item in value or ())
            flat |= {f"Env.{name}": text for name, _, text in pairs}
        elif isinstance(value, dict):
            flat |= {f"{key}.{name}": item if item != {} else True for name, item in value.items()}
        elif value not in (None, "", [], False):
            flat[key] = value
    return flat
