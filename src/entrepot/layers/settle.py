"""Makes a layer that was unpacked by itself fit on the layers below.

A layer may put files into directories it does not describe, and may link to files it does not have. Those
directories
get the attributes that the lower layers give them, and those files are copied, as an overlay mount would copy
them up.
Where a lower layer has a symlink for such a directory, the layer has to be unpacked again with the link in
sight.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path as FilePath

from entrepot.layers.apply import Applied
from entrepot.layers.directory import O_READ_DIRECTORY, Directory
from entrepot.layers.entry import Kind
from entrepot.layers.errors import InvalidLayer
from entrepot.layers.paths import join
from entrepot.layers.union import Union, copy_attributes, copy_directory_attributes


class NeedsLowerLayers(Exception):
    """The layer has to be applied once more, with the lower layers at hand."""


def settle(root: FilePath, applied: Applied, lower: Union) -> None:
    """Finish an OVERLAY layer. Raises NeedsLowerLayers, or InvalidLayer for a link to a file that is
    nowhere."""
    if not lower.roots:
        if applied.borrowed:
            raise InvalidLayer(f"hard link {join(applied.borrowed[0][0])!r} to a file that is not there")
        return
    if applied.borrowed:
        raise NeedsLowerLayers
    if not applied.describes_root:
        own = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            copy_attributes(lower.roots[0], os.fstat(lower.roots[0]), own)
        finally:
            os.close(own)
    with Directory(root) as directory:
        # Children first: setting a time on a directory is undone by nothing that follows.
        for path in sorted(applied.implied, key=len, reverse=True):
            found = lower.find(path)
            if found is not None and found.kind is Kind.SYMLINK:
                raise NeedsLowerLayers
            if found is None or found.kind is not Kind.DIRECTORY:
                continue
            parent, _ = directory.open_directory(path[:-1])
            fd = os.open(path[-1], O_READ_DIRECTORY, dir_fd=parent)
            try:
                with contextlib.suppress(FileNotFoundError):
                    copy_directory_attributes(lower, path, fd)
            finally:
                os.close(fd)
