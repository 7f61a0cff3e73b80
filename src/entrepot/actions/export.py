"""`export`: a container's files as one flat tar."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from entrepot.actions.create import lifecycle_of
from entrepot.actions.output_file import new_file
from entrepot.images.store import ImageStore
from entrepot.layers.diff import write_tree
from entrepot.layers.reproducible import source_date_epoch
from entrepot.layers.tar_writer import TarWriter


def export_container(
    name: str, output: Path | str | BinaryIO, *, store: ImageStore | Path | str | None = None
) -> None:
    """Write the merged files of a container, running or not. What is in volumes is not among them.

    A path is written whole, mode 0600, or not at all. With SOURCE_DATE_EPOCH set, later times become that
    one.
    Raises NoSuchContainer, FileUnusable.
    """
    lifecycle = lifecycle_of(store)
    container = lifecycle.containers.find(name)
    rootfs = lifecycle.rootfs(container)
    with rootfs.view() as tree:
        if isinstance(output, (str, Path)):
            with new_file(Path(output), "export container") as file:
                write_tree(TarWriter(file, latest_s=source_date_epoch()), tree)
        else:
            write_tree(TarWriter(output, latest_s=source_date_epoch()), tree)
