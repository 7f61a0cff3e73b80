"""The files of an image layout on a disk: the one engine below `ImageLayout` and the local store.

What is in `index.json` is decided elsewhere; here it is read, and replaced as a whole under the lock.
"""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Final

from entrepot.files import locked, make_folder, replace_file, try_lock
from entrepot.layout.blobs import BlobFiles, MakeFolder
from entrepot.layout.index import OCI_LAYOUT, IndexDocument, parse_document, print_document
from entrepot.layout.paths import LayoutPaths

STALE_PARTIAL_S: Final = 14 * 24 * 3600
"""A copy nobody went on with for so long is given up when garbage is collected."""
STALE_TMP_S: Final = 24 * 3600


class LayoutFiles:
    """Thread and process safe; making one costs nothing.

    With `durable`, blobs and `index.json` survive a power cut once a call has returned.
    """

    def __init__(self, paths: LayoutPaths, *, durable: bool, make_folder: MakeFolder = make_folder) -> None:
        self.paths = paths
        self.blobs = BlobFiles(paths, durable=durable, make_folder=make_folder)
        self._make_folder = make_folder
        self._durable = durable
        self._prepared = False

    def create(self) -> None:
        """Make an empty layout of an empty or missing directory; what is there stays."""
        self.prepare()
        if self.paths.layout.exists() and self.paths.index.exists():
            return
        with self.locked():
            if not self.paths.index.exists():
                self.write_index(IndexDocument([], {}))
            if not self.paths.layout.exists():
                self.replace(self.paths.layout, OCI_LAYOUT)

    def prepare(self) -> None:
        """Make the directories; comes before any writing."""
        if not self._prepared:
            paths = self.paths
            for folder in (paths.blobs, paths.blobs / "sha256", paths.own, paths.partials, paths.tmp):
                self._make_folder(folder)
            self._prepared = True

    def locked(self, *, exclusive: bool = True) -> AbstractContextManager[None]:
        """The layout's lock, among processes and threads."""
        return locked(self.paths.lock, exclusive=exclusive)

    def read_index(self, *, trusted: bool = False) -> IndexDocument | None:
        """None when there is none. `trusted` as `parse_document` takes it. Raises InvalidLayout."""
        try:
            raw = self.paths.index.read_bytes()
        except FileNotFoundError:
            return None
        return parse_document(raw, trusted=trusted)

    def write_index(self, document: IndexDocument) -> None:
        """The caller holds the lock, and has read what it changes under it."""
        self.replace(self.paths.index, print_document(document))

    def replace(self, path: Path, data: bytes) -> None:
        """Readers see the old or the new file, whole."""
        replace_file(path, data, tmp=self.paths.tmp, durable=self._durable)

    def give_up_partials(self) -> int:
        """Remove every partial blob no process works on; the bytes that frees."""
        return sum(_remove_unused(path) for path in self.paths.partials.iterdir())

    def remove_leftovers(self) -> None:
        """Remove what crashes left: nobody works on it, and nobody has touched it for long."""
        now = time.time()
        for directory, age_s in ((self.paths.partials, STALE_PARTIAL_S), (self.paths.tmp, STALE_TMP_S)):
            for path in directory.iterdir():
                with suppress(FileNotFoundError):
                    if now - path.stat().st_mtime > age_s:
                        _remove_unused(path)


def _remove_unused(path: Path) -> int:
    """Remove a file nobody has locked, or a directory; the bytes of the file."""
    try:
        if path.is_dir():
            import shutil  # here, since its archives load bz2 and lzma, 2 ms of each command

            shutil.rmtree(path, ignore_errors=True)
            return 0
        with path.open("rb+") as file:
            if not try_lock(file.fileno()):
                return 0
            size = path.stat().st_size
            path.unlink()
            return size
    except FileNotFoundError:
        return 0
